"""The old system's `config.yml` → `config.multi_alpha.yml`: what is carried over, what takes its place, what is left.

`KEYS` and `PARAMETERS` say it key by key (docs/CONFIG_MIGRATION.md shows them); `migrate` follows them and says of each
key of a file what became of it. A secret found in the old file is never written into the new one.
"""

import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from rooney.config.validation import join, parse_yaml, shown
from rooney.errors import ConfigError
from rooney.files import read_text
from rooney.market.instruments import PRODUCTS
from rooney.secrets import has_reference

Became = Literal["carried", "replaced", "look"]  # look: a person must see to it

SOCKET = "/run/redis/redis-server.sock"  # where the installer has Redis listen
_TRADED = {root for root in PRODUCTS if root not in ("6E", "6J", "PL", "ZB", "MES", "MNQ")}  # data only, unless traded
_HEARTBEAT = "systemd's watchdog and `rooney status` do that work"
_TAPE = "the hub fills every gap itself, from the gateway's replay and the historical API, and says what it could not"
_HISTORY = "`rooney data fill` gives Redis the history that strategies warm up on"


class Key(NamedTuple):
    """Fate of a key. new: its place, empty if there is none; aliases: other spellings the old system took."""

    became: Became
    new: str
    why: str
    aliases: tuple[str, ...] = ()


KEYS: dict[str, Key] = {
    "contract_map": Key(
        "replaced",
        "",
        "products, ticks and rolls are built in (`rooney/market/instruments.py`)",
        ("contract_map_path",),
    ),
    "models_path": Key(
        "look",
        "strategies.ibs.models_path",
        "becomes models/ibs/, and no model is still no entry (`on_missing_model: refuse`); pickles are not loaded: "
        "`rooney models import ibs OLD --to models/ibs`, or train anew",
        ("models_dir",),
    ),
    "symbols": Key(
        "carried",
        "instruments",
        "all that was loaded; 6E, 6J and PL, unless traded, and TLT (its feed was ZB.FUT) become data only",
        ("roots",),
    ),
    "databento_api_key": Key(
        "look", "databento.api_key", "stays a reference; `rooney credentials set databento_api_key`"
    ),
    "traderspost_webhook": Key(
        "look",
        "strategies.ibs.broker_account",
        "another name, so that nothing reaches the old account by itself: `rooney credentials set ibs.broker_account`, "
        "a paper webhook until the cutover",
        ("traderspost.webhook",),
    ),
    "discord_webhook_url": Key("look", "", "`rooney credentials set alert/discord`", ("discord_webhook",)),
    "killswitch": Key("look", "", "a switch, not a key: `rooney halt --all`", ("policy_killswitch",)),
    "portfolio.max_positions": Key("carried", "strategies.ibs.max_positions", ""),
    "portfolio.daily_stop_loss": Key(
        "carried",
        "strategies.ibs.daily_stop_loss",
        "now counts open positions too, closes them when reached, and ends with the exchange's day",
    ),
    "portfolio.instruments": Key("carried", "strategies.ibs.instruments", "the trading list"),
    "starting_cash": Key("carried", "strategies.ibs.starting_cash", "", ("cash",)),
    "backfill": Key("replaced", "", _TAPE),
    "backfill_days": Key("replaced", "data_hub.heal_limit_days", f"not carried, it meant something else: {_TAPE}"),
    "backfill_minutes": Key(
        "replaced", "", _TAPE, ("backfill_lookback", "backfill_lookback_minutes", "backfill_hours")
    ),
    "load_historical_warmup": Key("replaced", "", _HISTORY),
    "historical_lookback_days": Key("replaced", "", _HISTORY),
    "historical_hourly_lookback_days": Key("replaced", "", _HISTORY),
    "historical_warmup_batch_size": Key("replaced", "", _HISTORY),
    "historical_warmup_queue_soft_limit": Key("replaced", "", _HISTORY, ("queue_soft_limit",)),
    "historical_warmup_compression": Key("replaced", "", _HISTORY),
    "resample_session_start": Key(
        "replaced",
        "",
        "days are the exchange's, 17:00 to 16:00 Chicago in summer and winter (`rooney/market/sessions.csv`)",
        ("session_start", "session_anchor"),
    ),
    "queue_maxsize": Key(
        "replaced", "data_hub.ring_minutes", "nothing is dropped: Redis holds the tape", ("queue_size",)
    ),
    "heartbeat_interval": Key(
        "replaced",
        "data_hub.heartbeat_interval_s",
        "not carried: 5 s, because in a quiet market the gateway's heartbeat closes the minute",
    ),
    "heartbeat_file": Key("replaced", "", _HEARTBEAT),
    "heartbeat_write_interval": Key("replaced", "", _HEARTBEAT),
    "poll_interval": Key("replaced", "", "nothing polls: a worker wakes with the minute"),
    "preflight.enabled": Key("replaced", "", "`rooney check`, and every start checks; nothing switches that off"),
    "preflight.skip_ml_validation": Key("replaced", "", "a model file that cannot be used is always refused"),
    "preflight.skip_connection_checks": Key("replaced", "", "`rooney check --offline`; no start sends to the webhook"),
    "preflight.fail_fast": Key("replaced", "", "`rooney check` names everything at once"),
    "contracts.ROOT.size": Key("carried", "instruments.ROOT.size", "contracts per entry"),
    "contracts.ROOT.commission": Key(
        "look",
        "instruments.ROOT.commission",
        "carried, but was never applied: now USD per contract for the round turn",
        ("commission_per_contract",),
    ),
    "contracts.ROOT.margin": Key("carried", "instruments.ROOT.margin", "was never applied; now limits entries"),
    "contracts.ROOT.multiplier": Key(
        "carried", "instruments.ROOT.multiplier", "the exchange's only; another value is not carried"
    ),
    "contracts.ROOT.strategy_overrides": Key(
        "carried", "strategies.ibs.overrides.ROOT", "by parameter, see the second table"
    ),
}

# Old strategy parameter → what becomes of it in an override. A name without a dot is one of strategy_params.
PARAMETERS: dict[str, Key] = {
    "size": Key("carried", "overrides.ROOT.size", ""),
    "ibs_entry_low": Key("carried", "ibs_entry_low", ""),
    "ibs_entry_high": Key("carried", "ibs_entry_high", ""),
    "ibs_exit_low": Key("carried", "ibs_exit_low", ""),
    "ibs_exit_high": Key("carried", "ibs_exit_high", ""),
    "enable_ibs_exit": Key("carried", "ibs_exit_low", "off: 2, which no bar reaches"),
    "stop_perc": Key("carried", "stop_percent", ""),
    "enable_stop": Key("carried", "stop_percent", "off: 0"),
    "tp_perc": Key("carried", "target_percent", ""),
    "enable_tp": Key("carried", "target_percent", "off: 0"),
    "bar_stop_bars": Key("carried", "time_stop_bars", "at least 2, as it was"),
    "enable_bar_stop": Key("carried", "time_stop_bars", "off: 0"),
    "stop_type": Key(
        "look", "stop_atr", "for ATR: stop_atr = stop_atr_mult, stop_atr_bars = its length, stop_percent 0"
    ),
    "tp_type": Key("look", "target_atr", "for ATR: target_atr = tp_atr_mult, target_percent 0"),
    "entry_setting": Key("look", "filters.pivot", "inside range is the default; none: pivot: {enabled: false}"),
    "start_time1": Key("look", "entry_windows", 'as "00:00-15:00", "17:00-00:00" in Chicago time'),
    "auto_close_time": Key("look", "auto_close", 'as "15:00" in Chicago time, or off'),
}
_OFF = {
    "enable_ibs_exit": ("ibs_exit_low", 2.0),
    "enable_stop": ("stop_percent", 0.0),
    "enable_tp": ("target_percent", 0.0),
    "enable_bar_stop": ("time_stop_bars", 0),
}
_PLAIN = {name: key.new for name, key in PARAMETERS.items() if key.became == "carried" and name not in (*_OFF, "size")}
_OTHER_PARAMETER = (
    "is not carried: what every trade of a strategy obeys is its block's (`filters`, `entry_windows`, `auto_close`, "
    "`strategy_params`); for one instrument alone make a block of its own with `strategy: ibs`"
)
_ALIASES = {alias: name for name, key in KEYS.items() for alias in key.aliases}


class Note(NamedTuple):
    """Fate of a key of the old file. text never quotes a secret."""

    became: Became
    key: str
    new: str
    text: str


class Migration(NamedTuple):
    """The new file's text, and a note for every key of the old one."""

    text: str
    notes: tuple[Note, ...]


def read_old(path: Path) -> dict[str, Any]:
    """The old file, YAML or JSON. Raises ConfigError."""
    text = read_text(path, what="the old configuration", then="nothing was written")
    tree = parse_yaml(str(path), text)
    if not isinstance(tree, dict) or not {_ALIASES.get(key, key) for key in tree} & {"symbols", "contracts"}:
        raise ConfigError(f"{path}: expected the old system's keys (symbols, contracts …); nothing was written")
    return tree


def migrate(old: Mapping[str, Any], source: str) -> Migration:
    """The new file for an old one. source: its name, for the heading. Raises ConfigError where nothing would trade."""
    return _Migrator(old).result(source)


def check_migrated(made: Migration) -> None:
    """Raises ConfigError unless the new file loads and its parameters are ones that `ibs` takes."""
    from rooney.config.loader import load_config
    from rooney.strategy.loader import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.multi_alpha.yml"
        path.write_text(made.text, encoding="utf-8")
        config = load_config(path)
    if "overrides" in made.text:
        strategy = config.strategy("ibs")
        declared = {name: (each.default, each.low, each.high) for name, each in load("ibs").declared().items()}
        for root in strategy.traded:
            strategy.params(declared, root)


class _Migrator:
    def __init__(self, old: Mapping[str, Any]) -> None:
        self.notes: list[Note] = []
        self.instruments: dict[str, dict[str, Any]] = {}
        self.overrides: dict[str, dict[str, Any]] = {}
        self.block: dict[str, Any] = {
            "enabled": True,
            "mode": "paper",
            "broker_account": "${TRADERSPOST_IBS_WEBHOOK}",
            "models_path": "models/ibs/",
            "on_missing_model": "refuse",
            "instruments": [],
        }
        self.api_key = "${DATABENTO_API_KEY}"
        found = dict(_leaves(old))
        named = {_ALIASES.get(key, key): value for key, value in found.items()}
        contracts = old.get("contracts")
        self._instruments(named, contracts if isinstance(contracts, dict) else {})
        for key, value in found.items():
            self._key(key, value)
        for root, contract in (contracts if isinstance(contracts, dict) else {}).items():
            self._contract(str(root), contract)

    def result(self, source: str) -> Migration:
        if not self.block["instruments"]:
            raise ConfigError("portfolio.instruments, symbols: none of them can be traded; nothing was written")
        if self.overrides:
            self.block["overrides"] = self.overrides
        left = [note for note in self.notes if note.became == "look"]
        lines = [f"From {source}, by `rooney config migrate`. Keys not here have the defaults that the shipped"]
        lines += ["config.multi_alpha.yml explains. To be seen to by a person:", ""]
        for note in left:
            lines += textwrap.wrap(f"- {note.key}: {note.text}", 114, subsequent_indent="  ")
        head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
        hub = {"redis_socket": SOCKET}
        parts = [_dump({"databento": {"api_key": self.api_key}}, False), _dump({"data_hub": hub}, False)]
        parts += [_dump({"instruments": self.instruments}, None), _dump({"strategies": {"ibs": self.block}}, None)]
        return Migration("\n".join([head, *parts]), tuple(self.notes))

    def _say(self, key: str, found: Key, text: str = "", became: Became | None = None) -> None:
        self.notes.append(Note(became or found.became, key, found.new, text or found.why))

    def _key(self, path: str, value: Any) -> None:
        name = _ALIASES.get(path, path)
        known = KEYS.get(name)
        if known is None:
            self.notes.append(Note("look", path, "", "is no key the old system is known to have had; not carried"))
        elif name == "databento_api_key" and value is not None and not _is_reference(value):
            text = "was in the file in plain: it is not written anywhere; make a new one at Databento and "
            self._say(path, known, text + "`rooney credentials set databento_api_key`")
        elif name in ("portfolio.max_positions", "portfolio.daily_stop_loss", "starting_cash"):
            if value is None or value == 0:
                self._say(path, known, f"was {shown(value)}: the default holds, there is no trading without it", "look")
            else:
                self.block[known.new.rpartition(".")[2]] = value
                self._say(path, known)
        elif name == "killswitch" and str(value).strip().lower() in ("false", "0", "no", "off", "none"):
            self._say(path, known, became="replaced")
        elif name not in ("symbols", "portfolio.instruments"):  # done already
            self._say(path, known)

    def _instruments(self, named: Mapping[str, Any], contracts: Mapping[str, Any]) -> None:
        loaded = _roots(named.get("symbols")) or [str(root) for root in contracts]
        traded = []
        for index, item in enumerate(_list(named.get("portfolio.instruments"))):
            root, other = _selected(item)
            if other:
                text = f"{root} traded by {other}: only ibs is carried; `rooney new` begins another strategy"
                self.notes.append(Note("look", f"portfolio.instruments[{index}]", "", text))
            else:
                traded.append(root)
        for key, roots in (("symbols", loaded), ("portfolio.instruments", traded)):
            if key in named and roots:
                self._say(key, KEYS[key])
        for root in dict.fromkeys([*loaded, *traded]):
            product = "ZB" if root == "TLT" else root
            if product not in PRODUCTS:
                text = (
                    f"{root} is no product rooney knows: not carried; give it a block with all its facts if it is CME's"
                )
                self.notes.append(Note("look", "symbols", f"instruments.{root}", text))
            elif product in _TRADED or root in traded:
                self.instruments[product] = {}
            else:
                self.instruments[product] = {"reference": True}
        self.block["instruments"] = [
            root
            for root in dict.fromkeys(traded or loaded)
            if not self.instruments.get(root, {"reference": 1}).get("reference")
        ]

    def _contract(self, root: str, contract: Any) -> None:
        product = "ZB" if root == "TLT" else root
        if product not in self.instruments:
            text = "is not among the symbols that were loaded, or no product rooney knows; not carried"
            self.notes.append(Note("look", join("contracts", root), "", text))
            return
        for key, value in (contract if isinstance(contract, dict) else {}).items():
            if value is None:  # as if it were not there, as it was
                continue
            path = f"{join('contracts', root)}.{key}"
            name = "commission" if key == "commission_per_contract" else str(key)
            known = KEYS.get(f"contracts.ROOT.{name}")
            if known is None:
                self.notes.append(Note("look", path, "", "is no key the old system is known to have had; not carried"))
            elif name == "strategy_overrides":
                for parameter, given in (value if isinstance(value, dict) else {}).items():
                    self._override(root, f"{path}.{parameter}", str(parameter), given)
            elif name == "multiplier" and value != PRODUCTS[product].point_value:
                text = f"{shown(value)} is not the exchange's {PRODUCTS[product].point_value:g}; not carried"
                self._say(path, known, text, "look")
            else:
                self.instruments[product][name] = value
                self._say(path, _of(known, product))

    def _override(self, root: str, path: str, name: str, value: Any) -> None:
        known = PARAMETERS.get(name)
        if value is None:  # not set
            return
        if known is None:
            self.notes.append(Note("look", path, "strategies.ibs", _OTHER_PARAMETER))
            return
        if root not in self.block["instruments"]:
            self._say(path, known, f"is not carried: {root} is not traded", "look")
            return
        mine = self.overrides.setdefault(root, {})
        params = mine.setdefault("strategy_params", {})
        if name == "size":
            mine["size"] = value
        elif name in _OFF and value in (False, "false", "off", 0):
            new, none = _OFF[name]
            params[new] = none
        elif name in _PLAIN and _PLAIN[name] not in params:  # what is switched off stays off
            params[_PLAIN[name]] = max(2, value) if name == "bar_stop_bars" and isinstance(value, int) else value
        self._say(path, _of(known, root))
        if not params:
            del mine["strategy_params"]
        if not mine:
            del self.overrides[root]


def _of(key: Key, root: str) -> Key:
    return key._replace(new=key.new.replace("ROOT", root))


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys by path, two sections opened; contracts are apart."""
    for key, value in tree.items():
        if key in ("portfolio", "preflight", "traderspost") and isinstance(value, dict):
            yield from ((join(str(key), inner), content) for inner, content in value.items())
        elif key != "contracts":
            yield str(key), value


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [word for word in value.replace(",", " ").split() if not has_reference(word)]
    return value if isinstance(value, list) else []


def _roots(value: Any) -> list[str]:
    return [str(root) for root in _list(value)]


def _selected(item: Any) -> tuple[str, str]:
    """A traded instrument, and by what other strategy than IBS."""
    if not isinstance(item, dict):
        return str(item), ""
    strategy = str(item.get("strategy", "ibs"))
    return str(item.get("symbol", "?")), "" if strategy.lower().startswith("ibs") else strategy


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and has_reference(value)


def _dump(tree: Mapping[str, Any], flow: bool | None) -> str:
    return yaml.safe_dump(tree, sort_keys=False, default_flow_style=flow, width=118)
