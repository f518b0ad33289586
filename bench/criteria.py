"""What the roadmap asks for, and which tests, benchmarks and commands show it; `python -m bench.validate` runs them.

tests: `file::test`, below tests/; a file alone means all of it
rows:  beginnings of lines of the benchmarks' table
live:  what only a real account or a real machine can show, with the command to run there
"""

from typing import NamedTuple


class Criterion(NamedTuple):
    """One sentence of the roadmap."""

    text: str
    tests: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    live: str = ""


_SESSION = "test_demo.py::test_a_session_ends_ok_with_orders_from_both_strategies"
_WHOLE = "test_demo.py::test_a_session_has_every_minute_of_it_on_the_tape"
_PARITY = "test_parity.py"
_INDEPENDENT = (
    "test_worker.py::test_two_workers_finish_the_same_minutes_and_stopping_one_leaves_the_other_untouched",
    "test_worker.py::test_a_stopped_worker_holds_up_nobody",
    "system/test_3_market.py::test_killing_hanging_and_stopping_one_worker_touches_no_other",
)
_LATENCY = ("closing record → webhook, first order",)
_SOAK = "test_hub_soak.py"
_CRASH = "test_crash_equivalence.py::test_hub_redis_and_worker_killed_at_random_leave_the_ledger_of_an_undisturbed_day"
_UNITS = "system/test_3_market.py::test_the_guide_starts_hub_and_workers"
_ACCOUNT = "test_worker.py::test_two_strategies_with_one_webhook_the_second_does_not_start"
_TERM = "test_worker.py::test_a_term_with_a_send_in_flight_ends_in_time_and_has_its_outcome"
_COMPARE = "`docs/CUTOVER.md`, step 3, on three days of paper"
_WATCH = "`rooney status` and `journalctl -p err -u 'rooney-*' --since -2h`"

CRITERIA: dict[str, tuple[Criterion, ...]] = {
    "1.1 Data hub": (
        Criterion(
            "Data hub runs as standalone process",
            (
                _UNITS,
                "test_hub.py::test_sigterm_is_a_clean_end_that_publishes_all_closed_minutes_and_no_open_one",
                "test_hub.py::test_the_hub_carries_no_numba_polars_or_scikit_learn",
            ),
        ),
        Criterion(
            "Publishes all 18 instruments to Redis successfully",
            ("test_hub.py::test_all_eighteen_roots_of_a_session_equal_the_bars_made_from_the_trades_directly",),
            ("paced: every bar right at", "socket → bars, sustained"),
            "the first live session: `rooney bars --count 1`",
        ),
        Criterion(
            "Test consumer can read bars from Redis",
            ("test_bus.py::test_history_latest_channels_volumes_and_fronts_agree_with_the_tape",),
            ("publish → worker",),
        ),
        Criterion("Handles contract rolls correctly", ("test_rolls.py", "test_roll_day.py")),
        Criterion(
            "Graceful shutdown without data loss",
            (
                "test_hub.py::test_sigterm_is_a_clean_end_that_publishes_all_closed_minutes_and_no_open_one",
                "test_hub.py::test_a_hub_killed_in_mid_hour_in_mid_day_and_in_a_break_goes_on_as_if_it_had_not_been",
            ),
        ),
    ),
    "1.2 Strategy interface": (
        Criterion("`BaseStrategy` defines clear interface", ("test_strategy.py", "test_template.py")),
        Criterion("Feature engineering library works independently", ("test_features.py", "test_features_talib.py")),
        Criterion(
            "Strategy factory can load strategies from config",
            (
                "test_strategy.py::test_a_strategy_is_found_by_name_among_those_shipped",
                "test_config.py::test_a_block_may_name_the_file_it_runs",
            ),
        ),
        Criterion("Configuration schema validates correctly", ("test_config.py",)),
    ),
    "1.3 Configuration": (
        Criterion(
            "New config structure supports multiple strategies",
            (
                "test_config.py::test_the_file_serves_hub_workers_and_dashboard",
                "test_config.py::test_the_file_keeps_the_seeds_limits",
            ),
        ),
        Criterion("Config loader validates and parses correctly", ("test_config.py",)),
        Criterion(
            "Environment variables expand properly",
            (
                "test_config.py::test_a_missing_variable_is_named_with_the_key_that_wants_it",
                "test_config.py::test_an_ordinary_value_takes_the_variables_text_in_its_own_type",
                "test_config.py::test_every_variable_of_the_shipped_file_is_in_the_example_environment",
            ),
        ),
        Criterion(
            "Migration path from old config documented",
            ("test_migration.py",),
            (),
            "`rooney config migrate config.yml`",
        ),
    ),
    "1.4 Strategy worker": (
        Criterion(
            "Strategy worker starts successfully by its strategy's name",
            ("test_worker.py::test_the_command_itself_starts_trades_and_stops_without_a_heavy_library",),
            ("worker, 18 instruments, start to READY",),
        ),
        Criterion(
            "Connects to Redis and receives market data",
            (
                "test_worker.py::test_a_worker_waits_for_a_redis_that_is_not_there_yet",
                "test_worker.py::test_redis_restarted_in_mid_run_costs_nothing",
            ),
            ("publish → worker",),
        ),
        Criterion(
            "Loads strategy-specific config correctly",
            (
                "test_config.py::test_a_strategys_override_changes_its_own_instrument_only",
                "test_config.py::test_a_worker_needs_no_other_secret_than_its_own",
            ),
        ),
        Criterion("Routes orders to correct TradersPost webhook", (_SESSION, _ACCOUNT)),
        Criterion(
            "Writes heartbeat with strategy metrics (now: systemd's watchdog and STATUS)",
            (
                "test_worker.py::test_systemd_is_told_ready_after_the_warm_up_then_the_watchdog_and_stopping",
                "test_worker.py::test_a_blocked_loop_pings_no_more",
                "system/test_3_market.py::test_status_says_mode_positions_and_minute",
            ),
        ),
        Criterion("Graceful shutdown on SIGTERM", (_TERM,)),
    ),
    "2.1 IBS": (
        Criterion("IBS strategy extends the base strategy", ("test_strategy.py",)),
        Criterion("Entry/exit logic matches original exactly", (_PARITY,)),
        Criterion(
            "ML veto works identically to original",
            (
                _PARITY,
                "test_features_parity.py",
                "test_old_models.py::test_an_old_model_becomes_one_with_the_same_votes_and_the_old_numbers",
                "test_forest.py",
            ),
            (),
            "the old models were never published: `rooney models import ibs OLD --to models/ibs`",
        ),
        Criterion("Backtest results match original system (±1% P&L)", (_PARITY,)),
    ),
    "2.2 Integration": (
        Criterion("End-to-end integration test passes", (_SESSION, _WHOLE)),
        Criterion(
            "IBS worker generates expected trades on historical replay",
            (
                "test_demo.py::test_a_live_run_and_the_backtest_of_its_bars_are_the_same_trades_and_decisions",
                "test_replay.py",
            ),
        ),
        Criterion("Latency <100ms for bar processing", (), ("minute → decisions", *_LATENCY)),
        Criterion(
            "No memory leaks over 24-hour test", (_SOAK,), (), "`systemctl show -P MemoryCurrent rooney-hub`, daily"
        ),
    ),
    "2.3 Parallel running": (
        Criterion("New system runs in parallel with old system", ("system/test_2_install.py",), (), _COMPARE),
        Criterion("Paper trading generates trades matching old system", (_PARITY,), (), _COMPARE),
        Criterion("Monitoring dashboard shows comparison metrics", ("test_dashboard.py",), (), _COMPARE),
        Criterion("Supervisor (now: systemd) manages processes correctly", ("system/test_4_failures.py",)),
    ),
    "3.1 Validation period": (
        Criterion("3 consecutive days of paper trading with <2% P&L difference", (), (), _COMPARE),
        Criterion("No unexplained trade discrepancies", (_PARITY,), (), _COMPARE),
        Criterion("System stability confirmed (no crashes, memory leaks)", (_CRASH, _SOAK), (), _WATCH),
        Criterion("Performance metrics acceptable", (), (*_LATENCY, "publish → worker")),
    ),
    "3.2 Cutover": (
        Criterion("New system running in production successfully", (), (), "`docs/CUTOVER.md`, step 5"),
        Criterion(
            "Trades executing correctly via TradersPost",
            ("test_traderspost.py", "test_delivery.py"),
            (),
            "`rooney reconcile ibs fills.csv`",
        ),
        Criterion("No critical errors in first 2 hours", (), (), _WATCH),
        Criterion("Old system successfully decommissioned", (), (), "`docs/CUTOVER.md`, step 6"),
    ),
    "3.3 Documentation": (
        Criterion(
            "Documentation complete and accurate",
            ("test_docs.py", "test_operating.py", "system/test_2_install.py::test_the_guide_installs"),
        ),
        Criterion(
            "Old code archived but preserved", (), (), "it is in its own repository; nothing of it is copied here"
        ),
        Criterion("README reflects new architecture", ("test_docs.py",)),
        Criterion("Research framework documented", ("test_docs.py",)),
    ),
    "4.1 Second strategy": (
        Criterion(
            "Breakout strategy implemented and tested",
            (
                "test_backtest.py::test_live_stepping_equals_the_backtest_scan",
                "test_backtest.py::test_cutting_the_history_anywhere_changes_no_earlier_trade",
            ),
        ),
        Criterion(
            "Backtest shows positive Sharpe ratio",
            (),
            (),
            "not claimed: `rooney backtest breakout --data … --out …` on bought history says what it is",
        ),
        Criterion(
            "ML models trained for all instruments",
            ("test_train.py", "test_bundle.py"),
            (),
            "`rooney train breakout --data … --out …`",
        ),
        Criterion(
            "Portfolio optimization selects <10 best instruments", (), (), "on bought history: `research/README.md`"
        ),
        Criterion("Strategy ready for paper trading", (_SESSION, _UNITS)),
    ),
    "4.2 Two strategies": (
        Criterion("Breakout worker runs in paper mode successfully", (_UNITS, _SESSION)),
        Criterion("IBS and Breakout run simultaneously without issues", (_SESSION, _WHOLE)),
        Criterion("Both strategies operate independently", _INDEPENDENT),
        Criterion(
            "Dashboard shows both strategies separately",
            ("test_dashboard.py", "test_dashboard_browser.py::test_each_tab_shows_the_ledger_s_numbers"),
        ),
        Criterion("Stopping/restarting one doesn't affect the other", _INDEPENDENT),
    ),
    "4.3 Production": (
        Criterion("Both strategies running in production successfully", (), (), _WATCH),
        Criterion("Independent operation validated", _INDEPENDENT),
        Criterion("No performance degradation with 2 strategies", (), ("publish → last of",)),
        Criterion(
            "System resources acceptable",
            (),
            ("worker, 18 instruments, start to READY",),
            "`systemd-cgtop -1 rooney.slice`",
        ),
        Criterion("Documentation complete", ("test_docs.py",)),
    ),
    "Technical metrics": (
        Criterion("Bar processing latency <100ms", (), ("minute → decisions",)),
        Criterion("End-to-end latency <200ms", (), _LATENCY, "with the real webhook: `rooney status`"),
        Criterion("Memory stability <5% growth/day", (_SOAK,), (), "over 7 days: the dashboard's system tab"),
        Criterion("Redis throughput, 18 symbols × 1 bar/min", (), ("publish → worker", "publish → last of")),
        Criterion("Strategy independence 100%", _INDEPENDENT),
    ),
    "Business metrics": (
        Criterion("IBS P&L match ±2%", (_PARITY,), (), _COMPARE),
        Criterion(
            "System uptime >99.5%",
            (_CRASH, "system/test_3_market.py::test_redis_killed_is_back_and_nobody_else_is_restarted"),
            (),
            "over a week: `rooney report ibs`",
        ),
        Criterion(
            "Time to add strategy <1 week",
            (
                "test_template.py",
                "system/test_3_market.py::test_a_third_strategy_is_a_file_a_block_and_a_credential",
            ),
        ),
        Criterion(
            "Downtime during migration 0 hours",
            ("system/test_3_market.py::test_an_upgrade_restarts_one_unit_at_a_time",),
            (),
            "`docs/CUTOVER.md`: the old system trades until its webhook is taken over",
        ),
    ),
    "Architectural metrics": (
        Criterion("Shared components: data hub, feature library, backtest framework", ("test_layers.py",)),
        Criterion("Independent components: strategy logic, models, accounts, P&L", (_ACCOUNT, "test_ledger.py")),
        Criterion("Process isolation", ("system/test_5_sandbox.py", "system/test_1_units.py")),
        Criterion(
            "Configuration-driven: add strategy via config, not code",
            ("test_config.py::test_a_block_may_name_the_file_it_runs",),
        ),
        Criterion(
            "Zero-coupling: no inter-strategy communication",
            (
                "system/test_5_sandbox.py",
                "test_beyond_one_host.py::test_a_worker_s_user_writes_nowhere_and_reads_nothing_else",
            ),
        ),
    ),
    "Monitoring and alerts": (
        Criterion(
            "Redis health checks (memory, connections, latency)",
            (
                "test_redis_away.py",
                "test_redis_conf.py",
                "test_alerts.py::test_redis_that_is_full_crowded_or_slow_is_said",
            ),
        ),
        Criterion(
            "Data hub heartbeat monitoring",
            ("test_hub.py::test_a_dead_feed_shows_in_the_status_within_its_limit", "test_health.py"),
        ),
        Criterion(
            "Per-strategy heartbeat monitoring",
            (
                "test_health.py",
                "system/test_4_failures.py::test_a_loop_of_hangs_is_seen_each_time_and_given_up_the_fifth",
            ),
        ),
        Criterion(
            "Latency alerts (>200ms bar processing)",
            (
                "test_alerts.py::test_minutes_acted_on_too_late_are_said_once_there_are_enough_of_them",
                "test_reports.py",
            ),
        ),
        Criterion(
            "Memory leak alerts (>10% growth per hour)",
            ("test_alerts.py::test_memory_that_grows_by_more_than_a_tenth_an_hour_is_said",),
        ),
        Criterion(
            "Slack/Discord notifications for each strategy separately",
            (
                "test_alerts.py::test_a_strategy_has_its_own_channel_and_what_is_critical_goes_to_the_common_one_too",
                "test_alerts.py::test_a_storm_of_orders_is_a_few_messages_and_each_is_told_and_resolved",
            ),
        ),
    ),
}
