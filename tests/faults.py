"""Which tests play which fault: what the daemon must survive, in words, and the tests that hold it to that.

tests/unit/test_faults.py keeps this true: every test that is named exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FAULTS: Mapping[str, tuple[str, ...]] = {
    "replicas: the leader killed; frozen, then continued late; told to go; alone cut off from PostgreSQL": (
        "acceptance/test_replicas.py::test_a_killed_leader_is_replaced",
        "acceptance/test_replicas.py::test_a_frozen_leader_sends_and_writes_nothing_late",
        "acceptance/test_replicas.py::test_a_leader_that_is_told_to_go_hands_over",
        "acceptance/test_replicas.py::test_a_leader_that_alone_loses_postgresql_is_replaced",
        "integration/test_store_postgres.py::test_who_lost_the_lease_writes_nothing",
        "integration/test_store_postgres.py::test_nobody_takes_over_under_a_commit",
        "unit/test_lease.py::test_a_process_that_stood_still_sends_nothing_until_the_database_answered",
    ),
    "PostgreSQL restarted under several replicas; replicas that come and go": (
        "soak/test_churn.py::test_replicas_that_come_and_go",
        "acceptance/test_replicas.py::test_a_restart_of_postgresql_changes_no_hands",
        "unit/test_lease.py::test_after_an_outage_the_leader_before_comes_first",
    ),
    "a value that flaps around the threshold": (
        "acceptance/test_fault.py::test_a_value_that_flaps_is_one_incident",
        "unit/domain/test_advance.py::test_flaps_are_counted",
        "unit/domain/test_audience.py::test_the_third_relapse_in_a_day_says_flapping_instead_of_paging",
    ),
    "PagerDuty 500/502/503/504, then hangs after accepting": (
        "acceptance/test_delivery.py::test_pagerduty_fails_for_a_while",
        "acceptance/test_delivery.py::test_killed_between_the_202_and_the_commit",
        "integration/test_dispatcher.py::test_retries_keep_the_order",
        "integration/test_dispatcher.py::test_answers_lost_after_accepting_make_one_alert",
    ),
    "429 storm: 200 incidents at once": ("integration/test_dispatcher.py::test_storm_goes_out_critical_first_and_within_the_rate",),
    "PagerDuty 400; 401, 403, 404, 302; HTML with 200": (
        "acceptance/test_channel.py::test_a_refused_page_goes_to_mail_at_once",
        "integration/test_pagerduty_channel.py::test_every_answer_but_202_has_its_consequence",
        "integration/test_pagerduty_channel.py::test_refused_twice_is_rejected",
        "integration/test_dispatcher.py::test_a_settings_fault_is_told_at_once_and_retried_slowly",
    ),
    "the alert clears while its trigger is queued, or after an attempt of unknown result": (
        "acceptance/test_channel.py::test_what_opened_and_ended_undelivered_is_told_in_slack_and_by_mail",
        "integration/test_dispatcher.py::test_a_trigger_never_claimed_collapses_with_its_resolve",
        "integration/test_dispatcher.py::test_whatever_fails_each_key_is_one_alert_and_ends_resolved",
        "unit/test_resolve_guarantee.py::test_what_was_triggered_is_resolved_whatever_happens",
    ),
    "routing key rotated while an incident is open": (
        "acceptance/test_delivery.py::test_routing_key_rotated_while_open",
        "integration/test_pagerduty_channel.py::test_a_key_rotated_while_open_is_resolved_through_the_old_one",
        "integration/test_pagerduty_channel.py::test_a_page_pinned_to_a_key_that_is_gone_leaves_through_the_new_one",
        "unit/test_resolve_guarantee.py::test_what_was_triggered_is_resolved_whatever_happens",
    ),
    "600 KB of labels, 300-character names, emoji, NUL, CRLF, markup and templates in labels": (
        "acceptance/test_fault.py::test_labels_that_mean_harm_page_and_resolve",
        "integration/test_pagerduty_channel.py::test_600_kb_of_hostile_labels_are_accepted_and_the_cut_is_counted",
        "integration/test_slack_channel.py::test_hostile_values_are_inert_and_within_the_limits",
        "integration/test_email_channel.py::test_hostile_values_smuggle_nothing_into_header_or_session",
        "integration/test_mqtt_channel.py::test_hostile_values_stay_inside_the_payload",
        "integration/test_statuspage_channel.py::test_hostile_values_fit_the_vendors_rules",
        "integration/test_webhook_channel.py::test_hostile_facts_arrive_as_valid_json_below_the_limit",
        "unit/domain/test_publication.py::test_nothing_of_the_inside_leaves_in_any_form",
    ),
    "DNS failure at start and in the middle": (
        "acceptance/test_fault.py::test_names_that_do_not_resolve_stop_nothing",
        "unit/test_resolver.py::test_broken_dns_falls_back_to_the_last_good_answer",
        "unit/test_resolver.py::test_a_hung_lookup_is_cut_and_remembered_answers_go_on",
    ),
    "Slack 429, SMTP 421, a frozen MQTT broker": (
        "acceptance/test_channel.py::test_frozen_channels_leave_the_latency_of_pages_as_it_was",
        "acceptance/test_road.py::test_channels_that_hang_delay_no_page",
        "integration/test_slack_channel.py::test_every_status_has_its_consequence",
        "integration/test_email_channel.py::test_a_greeting_of_421_is_worth_another_try",
    ),
    "mosquitto killed and restarted without its data": (
        "acceptance/test_channel.py::test_the_broker_hears_of_the_daemon_before_any_incident",
        "integration/test_mqtt_channel.py::test_a_broker_that_forgot_is_told_everything_again",
    ),
    "a rule deleted, a silence added or ended while firing, the rules directory briefly empty": (
        "acceptance/test_silence.py::test_a_silence_while_firing_lets_the_resolve_through",
        "acceptance/test_silence.py::test_a_page_withheld_by_a_silence_goes_out_at_its_end",
        "acceptance/test_reload.py::test_rules_that_are_gone_are_refused",
        "unit/test_reloader.py::test_a_removed_rule_ends_after_the_grace",
        "unit/test_resolve_guarantee.py::test_what_was_triggered_is_resolved_whatever_happens",
    ),
    "SIGTERM with 100 notices queued and a slow PagerDuty": (
        "acceptance/test_delivery.py::test_stop_with_queued_notices_and_a_hanging_pagerduty",
        "integration/test_dispatcher.py::test_stop_with_100_queued_is_bounded_and_nothing_is_lost",
    ),
    "24 hours of a failing receiver": ("soak/test_dead_channel.py::test_24_hours_of_a_dead_channel_leave_memory_flat",),
}
