"""What the roadmap asks for, and which tests, benchmarks and commands show it; `python -m bench.acceptance` runs them.

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


_SESSION = "sim/test_demo.py::test_a_session_ends_ok_with_orders_from_both_strategies"
_WHOLE = "sim/test_demo.py::test_a_session_has_every_minute_of_it_on_the_tape"
_PARITY = "research/legacy/test_parity.py"
_INDEPENDENT = (
    "worker/test_process.py::test_two_workers_finish_the_same_minutes_and_stopping_one_leaves_the_other_untouched",
    "worker/test_process.py::test_a_stopped_worker_holds_up_nobody",
    "system/test_3_market.py::test_killing_hanging_and_stopping_one_worker_touches_no_other",
)
_LATENCY = ("closing record → webhook, first order",)
_SOAK = "processes/test_hub_soak.py"
_CRASH = (
    "processes/test_crash_equivalence.py"
    "::test_hub_redis_and_worker_killed_at_random_leave_the_ledger_of_an_undisturbed_day"
)
_UNITS = "system/test_3_market.py::test_the_guide_starts_hub_and_workers"
_ACCOUNT = "worker/test_process.py::test_two_strategies_with_one_webhook_the_second_does_not_start"
_TERM = "worker/test_process.py::test_a_term_with_a_send_in_flight_ends_in_time_and_has_its_outcome"
_COMPARE = "`rooney compare ibs trades.db --zone UTC` after three days of paper (`docs/CUTOVER.md`, step 3)"
_WATCH = "`rooney status` and `journalctl -p err -u 'rooney-*' --since -2h`"

CRITERIA: dict[str, tuple[Criterion, ...]] = {
    "1.1 Data hub": (
        Criterion(
            "Data hub runs as standalone process",
            (
                _UNITS,
                "hub/test_process.py::test_sigterm_is_a_clean_end_that_publishes_all_closed_minutes_and_no_open_one",
                "hub/test_process.py::test_the_hub_carries_no_numba_polars_or_scikit_learn",
            ),
        ),
        Criterion(
            "Publishes all 18 instruments to Redis successfully",
            ("hub/test_process.py::test_all_eighteen_roots_of_a_session_equal_the_bars_made_from_the_trades_directly",),
            ("paced: every bar right at", "socket → bars, sustained"),
            "the first live session: `rooney bars --count 1`",
        ),
        Criterion(
            "Test consumer can read bars from Redis",
            ("bus/test_bus.py::test_history_latest_channels_volumes_and_fronts_agree_with_the_tape",),
            ("publish → worker",),
        ),
        Criterion("Handles contract rolls correctly", ("market/test_rolls.py", "processes/test_roll_day.py")),
        Criterion(
            "Graceful shutdown without data loss",
            (
                "hub/test_process.py::test_sigterm_is_a_clean_end_that_publishes_all_closed_minutes_and_no_open_one",
                "hub/test_process.py::test_a_hub_killed_in_mid_hour_in_mid_day_and_in_a_break_goes_on_as_if_it_had_not_been",
            ),
        ),
    ),
    "1.2 Strategy interface": (
        Criterion(
            "`BaseStrategy` defines clear interface", ("strategy/test_compiler.py", "research/test_new_strategy.py")
        ),
        Criterion(
            "Feature engineering library works independently",
            ("kernels/test_indicators.py", "kernels/test_indicators_talib.py"),
        ),
        Criterion(
            "Strategy factory can load strategies from config",
            (
                "strategy/test_compiler.py::test_a_strategy_is_found_by_name_among_those_shipped",
                "config/test_loader.py::test_a_block_may_name_the_file_it_runs",
            ),
        ),
        Criterion("Configuration schema validates correctly", ("config/test_loader.py",)),
    ),
    "1.3 Configuration": (
        Criterion(
            "New config structure supports multiple strategies",
            (
                "config/test_loader.py::test_the_file_serves_hub_workers_and_dashboard",
                "config/test_loader.py::test_the_file_keeps_the_seeds_limits",
            ),
        ),
        Criterion("Config loader validates and parses correctly", ("config/test_loader.py",)),
        Criterion(
            "Environment variables expand properly",
            (
                "config/test_loader.py::test_a_missing_variable_is_named_with_the_key_that_wants_it",
                "config/test_loader.py::test_an_ordinary_value_takes_the_variables_text_in_its_own_type",
                "config/test_loader.py::test_every_variable_of_the_shipped_file_is_in_the_example_environment",
            ),
        ),
        Criterion(
            "Migration path from old config documented",
            ("ops/test_migrate_config.py",),
            (),
            "`rooney config migrate config.yml`",
        ),
    ),
    "1.4 Strategy worker": (
        Criterion(
            "Strategy worker starts successfully by its strategy's name",
            ("worker/test_process.py::test_the_command_itself_starts_trades_and_stops_without_a_heavy_library",),
            ("worker, 18 instruments, start to READY",),
        ),
        Criterion(
            "Connects to Redis and receives market data",
            (
                "worker/test_process.py::test_a_worker_waits_for_a_redis_that_is_not_there_yet",
                "worker/test_process.py::test_redis_restarted_in_mid_run_costs_nothing",
            ),
            ("publish → worker",),
        ),
        Criterion(
            "Loads strategy-specific config correctly",
            (
                "config/test_loader.py::test_a_strategys_override_changes_its_own_instrument_only",
                "config/test_loader.py::test_a_worker_needs_no_other_secret_than_its_own",
            ),
        ),
        Criterion("Routes orders to correct TradersPost webhook", (_SESSION, _ACCOUNT)),
        Criterion(
            "Writes heartbeat with strategy metrics (now: systemd's watchdog and STATUS)",
            (
                "worker/test_process.py::test_systemd_is_told_ready_after_the_warm_up_then_the_watchdog_and_stopping",
                "worker/test_process.py::test_a_blocked_loop_pings_no_more",
                "system/test_3_market.py::test_status_says_mode_positions_and_minute",
            ),
        ),
        Criterion("Graceful shutdown on SIGTERM", (_TERM,)),
    ),
    "2.1 IBS": (
        Criterion("IBS strategy extends the base strategy", ("strategy/test_compiler.py",)),
        Criterion("Entry/exit logic matches original exactly", (_PARITY,)),
        Criterion(
            "ML veto works identically to original",
            (
                _PARITY,
                "features/test_parity_v1.py",
                "research/legacy/test_models.py::test_an_old_model_becomes_one_with_the_same_votes_and_the_old_numbers",
                "kernels/test_forest.py",
            ),
            (),
            "the old models were never published: `rooney models import ibs OLD --out models/ibs`",
        ),
        Criterion("Backtest results match original system (±1% P&L)", (_PARITY,)),
    ),
    "2.2 Integration": (
        Criterion("End-to-end integration test passes", (_SESSION, _WHOLE)),
        Criterion(
            "IBS worker generates expected trades on historical replay",
            (
                "sim/test_demo.py::test_a_live_run_and_the_backtest_of_its_bars_are_the_same_trades_and_decisions",
                "research/backtest/test_replay.py",
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
        Criterion("Monitoring dashboard shows comparison metrics", ("dashboard/test_app.py",), (), _COMPARE),
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
            ("execution/test_traderspost.py", "execution/test_delivery.py"),
            (),
            "`rooney reconcile ibs fills.csv`",
        ),
        Criterion("No critical errors in first 2 hours", (), (), _WATCH),
        Criterion("Old system successfully decommissioned", (), (), "`docs/CUTOVER.md`, step 6"),
    ),
    "3.3 Documentation": (
        Criterion(
            "Documentation complete and accurate",
            ("docs/test_docs.py", "docs/test_operating.py", "system/test_2_install.py::test_the_guide_installs"),
        ),
        Criterion(
            "Old code archived but preserved", (), (), "it is in its own repository; nothing of it is copied here"
        ),
        Criterion("README reflects new architecture", ("docs/test_docs.py",)),
        Criterion("Research framework documented", ("docs/test_docs.py",)),
    ),
    "4.1 Second strategy": (
        Criterion(
            "Breakout strategy implemented and tested",
            (
                "research/backtest/test_backtest.py::test_live_stepping_equals_the_backtest_scan",
                "research/backtest/test_backtest.py::test_cutting_the_history_anywhere_changes_no_earlier_trade",
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
            ("research/models/test_train.py", "models/test_bundle.py"),
            (),
            "`rooney train breakout --data … --out …`",
        ),
        Criterion(
            "Portfolio optimization selects <10 best instruments",
            (),
            (),
            "on bought history: `rooney portfolio breakout --data … --out …`",
        ),
        Criterion("Strategy ready for paper trading", (_SESSION, _UNITS)),
    ),
    "4.2 Two strategies": (
        Criterion("Breakout worker runs in paper mode successfully", (_UNITS, _SESSION)),
        Criterion("IBS and Breakout run simultaneously without issues", (_SESSION, _WHOLE)),
        Criterion("Both strategies operate independently", _INDEPENDENT),
        Criterion(
            "Dashboard shows both strategies separately",
            ("dashboard/test_app.py", "dashboard/test_browser.py::test_each_tab_shows_the_ledger_s_numbers"),
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
        Criterion("Documentation complete", ("docs/test_docs.py",)),
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
                "research/test_new_strategy.py",
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
        Criterion("Independent components: strategy logic, models, accounts, P&L", (_ACCOUNT, "ledger/test_writer.py")),
        Criterion("Process isolation", ("system/test_5_sandbox.py", "system/test_1_units.py")),
        Criterion(
            "Configuration-driven: add strategy via config, not code",
            ("config/test_loader.py::test_a_block_may_name_the_file_it_runs",),
        ),
        Criterion(
            "Zero-coupling: no inter-strategy communication",
            (
                "system/test_5_sandbox.py",
                "processes/test_redis_over_network.py::test_a_worker_s_user_writes_nowhere_and_reads_nothing_else",
            ),
        ),
    ),
    "Monitoring and alerts": (
        Criterion(
            "Redis health checks (memory, connections, latency)",
            (
                "processes/test_redis_away.py",
                "install/test_redis_conf.py",
                "alerts/test_process.py::test_redis_that_is_full_crowded_or_slow_is_said",
            ),
        ),
        Criterion(
            "Data hub heartbeat monitoring",
            (
                "hub/test_process.py::test_a_dead_feed_shows_in_the_status_within_its_limit",
                "monitor/test_conditions.py",
            ),
        ),
        Criterion(
            "Per-strategy heartbeat monitoring",
            (
                "monitor/test_conditions.py",
                "system/test_4_failures.py::test_a_loop_of_hangs_is_seen_each_time_and_given_up_the_fifth",
            ),
        ),
        Criterion(
            "Latency alerts (>200ms bar processing)",
            (
                "alerts/test_process.py::test_minutes_acted_on_too_late_are_said_once_there_are_enough_of_them",
                "performance/test_report.py",
            ),
        ),
        Criterion(
            "Memory leak alerts (>10% growth per hour)",
            ("alerts/test_process.py::test_memory_that_grows_by_more_than_a_tenth_an_hour_is_said",),
        ),
        Criterion(
            "Slack/Discord notifications for each strategy separately",
            (
                "alerts/test_process.py::test_a_strategy_has_its_own_channel_and_what_is_critical_goes_to_the_common_one_too",
                "alerts/test_process.py::test_a_storm_of_orders_is_a_few_messages_and_each_is_told_and_resolved",
            ),
        ),
    ),
}
