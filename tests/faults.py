"""What the daemon must survive, row by row: the fault, what is expected, and the tests that hold it to that.

tests/unit/test_faults.py keeps this true; `make reliability` runs the tests of the running process and writes docs/reliability.md.
Tests under acceptance/ and soak/ run the real daemon; the others hold a part of it to more cases than a process could play.
"""

from __future__ import annotations

from dataclasses import dataclass

REAL = ("acceptance/", "soak/")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `tests` are `<path below tests/>::<function>`."""

    number: int
    fault: str
    expected: str
    tests: tuple[str, ...]

    @property
    def real(self) -> tuple[str, ...]:
        """Those that run the real process."""
        return tuple(name for name in self.tests if name.startswith(REAL))


ROWS = (
    Row(
        1,
        "kill -9 at random moments while firing",
        "after the restart no second alert, `for` progress kept, no false resolve",
        (
            "acceptance/test_kill.py::test_a_dozen_kills",
            "acceptance/test_kill.py::test_a_few_rounds",
            "soak/test_kill.py::test_many_kills",
            "soak/test_kill.py::test_many_rounds",
            "soak/test_long.py::test_the_progress_of_for_outlives_kill_9",
            "unit/test_app_path.py::test_a_restart_keeps_pending_progress_and_pages_once",
            "integration/test_store_crash.py::test_kill_9_loses_nothing_and_leaves_no_half",
        ),
    ),
    Row(
        2,
        "kill -9 between the 202 and the commit",
        "the trigger is sent twice, one alert",
        (
            "acceptance/test_delivery.py::test_killed_between_the_202_and_the_commit",
            "integration/test_dispatcher.py::test_answers_lost_after_accepting_make_one_alert",
        ),
    ),
    Row(
        3,
        "kill -9 between commit and send",
        "delivered within seconds of the restart",
        (
            "acceptance/test_delivery.py::test_killed_between_the_commit_and_the_send",
            "acceptance/test_delivery.py::test_resolve_survives_kill",
        ),
    ),
    Row(
        4,
        "Prometheus frozen for minutes, then continued",
        "state kept, no resolve, errors counted, one blind incident; recovers within one interval, no burst of stale evaluations",
        (
            "acceptance/test_unknown.py::test_prometheus_that_stands_still_for_a_minute",
            "unit/test_app_path.py::test_a_frozen_process_runs_no_burst",
            "unit/test_app_path.py::test_blind_after_two_minutes_and_seeing_again",
        ),
    ),
    Row(
        5,
        "Prometheus restarted with an empty database",
        "no data, not OK",
        ("acceptance/test_unknown.py::test_prometheus_restarted_without_its_data",),
    ),
    Row(
        6,
        "refused, RST in the body, cut JSON, HTML with 200, status error, wrong type, 422, 503, 429 with Retry-After of hours",
        "each its own reason, state kept, the interval kept",
        (
            "acceptance/test_answer.py::test_every_wrong_answer_has_its_reason_and_keeps_the_state",
            "integration/test_prometheus_source.py::test_every_bad_answer_has_its_own_reason",
        ),
    ),
    Row(
        7,
        "1 byte a second; headers that never end; an answer of 200 MB",
        "cut at the deadline or the byte cap, other rules on time, memory flat",
        (
            "acceptance/test_answer.py::test_answers_that_never_end_are_cut_and_hold_up_nobody",
            "integration/test_prometheus_source.py::test_every_bad_answer_has_its_own_reason",
        ),
    ),
    Row(
        8,
        "warnings that name partial data, isPartial, with an empty result",
        "an error, not healthy",
        (
            "acceptance/test_answer.py::test_every_wrong_answer_has_its_reason_and_keeps_the_state",
            "integration/test_prometheus_source.py::test_every_bad_answer_has_its_own_reason",
        ),
    ),
    Row(
        9,
        "NaN, +Inf, -Inf, 0/0 traffic, stale series, a series that vanishes while firing",
        "no data; no false page, no false resolve",
        (
            "acceptance/test_answer.py::test_values_that_are_no_numbers_and_series_that_vanish",
            "acceptance/test_unknown.py::test_traffic_that_stops_and_series_that_go_stale",
            "unit/domain/test_advance.py::test_unknown_neither_opens_nor_resolves",
        ),
    ),
    Row(
        10,
        "the query of a firing rule begins to fail",
        "no resolve",
        (
            "acceptance/test_unknown.py::test_firing_rule_whose_query_begins_to_fail",
            "acceptance/test_unknown.py::test_one_firing_rule_whose_query_begins_to_fail",
            "unit/test_app_path.py::test_a_failing_query_resolves_nothing",
        ),
    ),
    Row(
        11,
        "1 of 50 rules hangs",
        "the other 49 keep their schedule",
        (
            "acceptance/test_answer.py::test_one_hung_rule_of_fifty",
            "unit/test_app_path.py::test_one_hung_rule_of_fifty_delays_no_other",
        ),
    ),
    Row(
        12,
        "evaluation slower than the interval",
        "slots skipped on the grid and counted, never overlapped",
        (
            "acceptance/test_answer.py::test_an_evaluation_slower_than_its_interval",
            "unit/test_app_path.py::test_an_evaluation_slower_than_its_interval_skips_slots_on_the_grid",
        ),
    ),
    Row(
        13,
        "a value that flaps around the threshold",
        "one incident, flaps counted",
        (
            "acceptance/test_fault.py::test_a_value_that_flaps_is_one_incident",
            "soak/test_long.py::test_a_storm_of_flaps_is_one_incident_each",
            "unit/domain/test_advance.py::test_flaps_are_counted",
            "unit/domain/test_audience.py::test_the_third_relapse_in_a_day_says_flapping_instead_of_paging",
        ),
    ),
    Row(
        14,
        "PagerDuty 500/502/503/504 for ten minutes; then hangs after accepting",
        "retried with jitter, order kept, one alert",
        (
            "acceptance/test_delivery.py::test_pagerduty_fails_for_a_while",
            "soak/test_pagerduty.py::test_pagerduty_hangs_after_accepting",
            "soak/test_long.py::test_ten_minutes_of_a_pagerduty_that_fails_then_hangs",
            "integration/test_dispatcher.py::test_retries_keep_the_order",
        ),
    ),
    Row(
        15,
        "429 storm: 200 incidents at once",
        "at most 120 a minute, critical first, every one delivered or folded into a storm",
        (
            "acceptance/test_delivery.py::test_many_at_once_fold_into_a_storm_and_critical_ones_do_not",
            "soak/test_long.py::test_200_incidents_at_once",
            "integration/test_dispatcher.py::test_storm_goes_out_critical_first_and_within_the_rate",
        ),
    ),
    Row(
        16,
        "PagerDuty 400; 401, 403, 404, 302; HTML with 200",
        "least payload once, then the fallback; never counted as success",
        (
            "acceptance/test_channel.py::test_a_refused_page_goes_to_mail_at_once",
            "soak/test_pagerduty.py::test_an_answer_that_is_no_202_is_no_success",
            "integration/test_pagerduty_channel.py::test_every_answer_but_202_has_its_consequence",
            "integration/test_pagerduty_channel.py::test_refused_twice_is_rejected",
            "integration/test_dispatcher.py::test_a_settings_fault_is_told_at_once_and_retried_slowly",
        ),
    ),
    Row(
        17,
        "the alert clears while its trigger is queued, or after an attempt whose result is unknown",
        "collapsed only if never attempted, and told elsewhere; else the resolve is sent; never a trigger after a resolve",
        (
            "acceptance/test_channel.py::test_what_opened_and_ended_undelivered_is_told_in_slack_and_by_mail",
            "acceptance/test_delivery.py::test_what_ends_after_an_attempt_of_unknown_result_is_resolved",
            "integration/test_dispatcher.py::test_a_trigger_never_claimed_collapses_with_its_resolve",
            "integration/test_dispatcher.py::test_whatever_fails_each_key_is_one_alert_and_ends_resolved",
            "unit/test_resolve_guarantee.py::test_what_was_triggered_is_resolved_whatever_happens",
        ),
    ),
    Row(
        18,
        "routing key rotated while an incident is open",
        "resolved through the old key",
        (
            "acceptance/test_delivery.py::test_routing_key_rotated_while_open",
            "integration/test_pagerduty_channel.py::test_a_key_rotated_while_open_is_resolved_through_the_old_one",
            "integration/test_pagerduty_channel.py::test_a_page_pinned_to_a_key_that_is_gone_leaves_through_the_new_one",
            "unit/test_resolve_guarantee.py::test_what_was_triggered_is_resolved_whatever_happens",
        ),
    ),
    Row(
        19,
        "600 KB of labels, 300-character names, emoji, NUL, CRLF, markup and templates in labels",
        "within limits, valid, inert everywhere, key stable",
        (
            "acceptance/test_fault.py::test_labels_that_mean_harm_page_and_resolve",
            "acceptance/test_fault.py::test_600_kb_of_labels_page_and_resolve",
            "integration/test_pagerduty_channel.py::test_600_kb_of_hostile_labels_are_accepted_and_the_cut_is_counted",
            "integration/test_slack_channel.py::test_hostile_values_are_inert_and_within_the_limits",
            "integration/test_email_channel.py::test_hostile_values_smuggle_nothing_into_header_or_session",
            "integration/test_mqtt_channel.py::test_hostile_values_stay_inside_the_payload",
            "integration/test_statuspage_channel.py::test_hostile_values_fit_the_vendors_rules",
            "integration/test_webhook_channel.py::test_hostile_facts_arrive_as_valid_json_below_the_limit",
            "unit/domain/test_publication.py::test_nothing_of_the_inside_leaves_in_any_form",
        ),
    ),
    Row(
        20,
        "DNS failure at the start and in the middle",
        "starts, keeps trying, recovers",
        (
            "acceptance/test_fault.py::test_names_that_do_not_resolve_stop_nothing",
            "acceptance/test_surroundings.py::test_names_stop_resolving_while_it_runs",
            "acceptance/test_unknown.py::test_prometheus_that_is_not_there_at_start",
            "unit/test_resolver.py::test_broken_dns_falls_back_to_the_last_good_answer",
            "unit/test_resolver.py::test_a_hung_lookup_is_cut_and_remembered_answers_go_on",
        ),
    ),
    Row(
        21,
        "Slack 429, SMTP 421, a frozen MQTT broker",
        "paging latency unchanged",
        (
            "acceptance/test_channel.py::test_frozen_channels_leave_the_latency_of_pages_as_it_was",
            "acceptance/test_road.py::test_channels_that_hang_delay_no_page",
            "integration/test_slack_channel.py::test_every_status_has_its_consequence",
            "integration/test_email_channel.py::test_a_greeting_of_421_is_worth_another_try",
        ),
    ),
    Row(
        22,
        "mosquitto killed and restarted without its data",
        "open incidents republished, status online",
        (
            "acceptance/test_channel.py::test_the_broker_hears_of_the_daemon_before_any_incident",
            "integration/test_mqtt_channel.py::test_a_broker_that_forgot_is_told_everything_again",
        ),
    ),
    Row(
        23,
        "disk full; corrupt database page or header; database locked by another process",
        "paging continues, says so by a page, recovers; a corrupt file is moved aside, never deleted",
        (
            "acceptance/test_disk.py::test_a_disk_that_is_full_for_a_moment",
            "soak/test_disk.py::test_a_disk_that_is_full",
            "acceptance/test_disk.py::test_a_database_that_another_process_has_locked",
            "acceptance/test_disk.py::test_a_corrupt_file_is_moved_aside_and_said",
            "acceptance/test_disk.py::test_a_file_that_becomes_corrupt_while_it_runs",
            "integration/test_store_sqlite.py::test_what_a_damaged_page_leaves_is_saved",
            "unit/test_app_path.py::test_a_store_that_is_begun_anew_gets_what_memory_knows",
        ),
    ),
    Row(
        24,
        "the wall clock jumps an hour both ways; daylight saving",
        "no early `for`, no mass resolve, sane timestamps",
        (
            "acceptance/test_surroundings.py::test_the_wall_clock_is_set_by_an_hour_both_ways",
            "unit/test_app_path.py::test_a_wall_clock_set_by_an_hour_neither_stalls_nor_fires_early",
            "unit/test_slot.py::test_a_clock_that_was_set_stalls_nothing_and_misses_nothing",
            "unit/test_calendar.py::test_three_in_the_morning_stays_there_over_daylight_saving",
            "unit/test_calendar.py::test_a_local_time_that_the_clocks_skip_means_the_moment_they_jump_to",
            "unit/test_calendar.py::test_a_local_time_that_comes_twice_means_the_first",
        ),
    ),
    Row(
        25,
        "reload with a syntax error, unknown key, bad PromQL, bad CEL, duplicate name, missing secret",
        "the old rules go on, the metric is 0, the command says why and fails",
        (
            "acceptance/test_reload.py::test_every_fault_of_a_rule_file_is_refused",
            "acceptance/test_reload.py::test_reload_by_request",
            "acceptance/test_reload.py::test_reload_by_signal",
            "unit/test_reloader.py::test_a_reload_with_findings_changes_nothing_and_says_why",
        ),
    ),
    Row(
        26,
        "reload that only moves or reorders files",
        "no state change at all",
        ("acceptance/test_reload.py::test_reload_that_only_moves_a_rule",),
    ),
    Row(
        27,
        "a rule deleted, or a silence added or ended, while firing; the rules directory briefly empty",
        "the resolve is delivered with its reason, nothing orphaned; what a silence withheld goes out at its end; no empty load",
        (
            "acceptance/test_silence.py::test_a_silence_while_firing_lets_the_resolve_through",
            "acceptance/test_silence.py::test_a_page_withheld_by_a_silence_goes_out_at_its_end",
            "acceptance/test_reload.py::test_rules_that_are_gone_are_refused",
            "soak/test_long.py::test_a_deleted_rule_resolves_after_its_grace",
            "unit/test_reloader.py::test_a_removed_rule_ends_after_the_grace",
            "unit/test_resolve_guarantee.py::test_what_was_triggered_is_resolved_whatever_happens",
        ),
    ),
    Row(
        28,
        "SIGTERM with 100 notices queued and a slow PagerDuty",
        "exits within its stop timeout, the rest delivered after the restart",
        (
            "acceptance/test_delivery.py::test_stop_with_queued_notices_and_a_hanging_pagerduty",
            "integration/test_dispatcher.py::test_stop_with_100_queued_is_bounded_and_nothing_is_lost",
        ),
    ),
    Row(
        29,
        "several replicas: one killed; frozen and continued late; cut off from PostgreSQL alone",
        "takeover within TTL + one interval, the stale one sends nothing, one alert",
        (
            "acceptance/test_replica.py::test_a_leader_that_dies_is_replaced",
            "acceptance/test_replica.py::test_a_frozen_leader_sends_nothing_when_it_wakes",
            "acceptance/test_replica.py::test_one_that_loses_only_the_database_makes_no_second_alert",
            "acceptance/test_replica.py::test_alerts_sent_here_may_go_to_any_replica",
            "integration/test_store_postgres.py::test_what_expired_is_taken_with_a_higher_epoch",
            "integration/test_store_postgres.py::test_nobody_takes_over_under_a_commit",
            "integration/test_store_postgres.py::test_an_opening_that_was_claimed_and_not_recorded_is_doubted",
            "unit/test_lease.py::test_what_was_claimed_may_leave_only_under_its_lease",
            "unit/test_lease.py::test_one_that_stood_still_is_not_alone_at_once",
            "unit/test_transaction.py::test_a_page_under_another_name_than_stands_is_ended",
            "unit/domain/test_correlate.py::test_a_firing_that_another_replica_saw_and_ended_is_no_relapse",
        ),
    ),
    Row(
        30,
        "PostgreSQL restarted; replicas that come and go every ten seconds",
        "no duplicate, every shard owned once, no gap over two intervals",
        (
            "acceptance/test_replica.py::test_a_restart_of_the_database_is_one_alert_each",
            "acceptance/test_replica.py::test_all_page_while_the_database_is_gone",
            "acceptance/test_replica.py::test_a_replica_that_ends_gives_its_shards_away_at_once",
            "soak/test_replica.py::test_replicas_that_come_and_go_lead_every_shard_once",
            "integration/test_store_postgres.py::test_a_restart_of_the_server_is_survived",
            "unit/domain/test_share.py::test_replicas_that_come_go_and_freeze_lead_every_shard_once",
        ),
    ),
    Row(
        31,
        "webhook: bad, old and several signatures, replay, 300 KB, slow sender, database down",
        "403, accepted once, 413, 408, 503",
        (
            "acceptance/test_pagerduty_back.py::test_webhooks_that_are_wrong_late_or_repeated",
            "acceptance/test_pagerduty_back.py::test_a_database_that_does_not_answer_is_said_as_503_and_heard_again",
            "unit/test_signature.py::test_any_signature_of_any_secret_passes",
        ),
    ),
    Row(
        32,
        "the event loop blocked for a minute",
        "watchdog not fed, process replaced, clean restart",
        ("acceptance/test_surroundings.py::test_a_loop_that_is_blocked_for_a_minute_is_replaced",),
    ),
    Row(
        33,
        "24 hours (compressed) of a failing receiver, 10,000 alert cycles",
        "memory, descriptors and tasks flat",
        (
            "soak/test_long.py::test_10000_alerts_with_a_receiver_that_fails_leave_the_process_flat",
            "soak/test_dead_channel.py::test_24_hours_of_a_dead_channel_leave_memory_flat",
        ),
    ),
    Row(
        34,
        "64 file descriptors",
        "degraded, still pages",
        ("acceptance/test_surroundings.py::test_64_file_descriptors_of_which_callers_hold_all_they_get",),
    ),
)
