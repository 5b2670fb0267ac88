"""plimsoll.toml: what is read is what is written, and every mistake is one line that names its key."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from plimsoll.chain.fields import Field, Key
from plimsoll.config import DEFAULT_PATH, WAD, Config
from plimsoll.errors import PlimsollError
from plimsoll.market.markets import MARKETS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def text() -> str:
    return DEFAULT_PATH.read_text()


def load(folder: Path, text: str) -> Config:
    path = folder / "plimsoll.toml"
    path.write_text(text)
    return Config.load(path)


def test_load_has_a_profile_with_the_horizons_of_every_market() -> None:
    config = Config.load()
    for name, market in MARKETS.items():
        profile = config.for_market(name)
        assert profile.market == name
        assert set(profile.ids) == set(market.assets)
        assert profile.common[Field.HORIZON_INITIAL] == market.initial_horizon
        assert profile.common[Field.HORIZON_MAINTENANCE] == market.maintenance_horizon


def test_load_marks_every_public_address_unverified() -> None:
    config = Config.load()
    assert len(config.profile("sepolia").unverified()) == 4
    assert config.profile("crypto").unverified() == []


def test_load_keeps_decimals_exact() -> None:
    rule = Config.load().profile("crypto").fields[Field.VOLATILITY_STRESS_WEIGHT]
    assert rule.minimum == Decimal("0.25")
    assert rule.bounds() == (250_000, 1_000_000)


def test_initial_changes_cover_every_number_once() -> None:
    profile = Config.load().profile("crypto")
    changes = profile.initial_changes()
    keys = [change.key for change in changes]
    assert len(set(keys)) == len(keys) == 2 * 32 + 7 + 2
    values = {change.key: change.value for change in changes}
    assert values[Key(Field.HORIZON_INITIAL)] == 8 * 3600
    assert values[Key(Field.AVERAGE_DAILY_VOLUME, 1)] == 1_000_000
    assert values[Key(Field.CORRELATION_LOW, 1, 2)] == 500_000


@pytest.mark.parametrize(
    ("field", "value", "encoded"),
    [
        (Field.TAIL_INITIAL, 2.0000001, 2_000_001),
        (Field.AVERAGE_DAILY_VOLUME, 1_999_999, 1_999),
        (Field.CORRELATION_LOW, -0.1000001, -100_001),
        (Field.CORRELATION_HIGH, 0.1000001, 100_001),
        (Field.HORIZON_INITIAL, 3600, 3600),
        # a bracket that ends sooner, interest that is called open sooner: more margin
        (Field.TIER_NOTIONAL_2, 1_999_999, 1_999),
        (Field.OPEN_INTEREST_LOWER, 1_999, 1),
        (Field.OPEN_INTEREST_UPPER, 1_999, 1),
        (Field.OPEN_INTEREST_SCALE, 1.0000001, 1_000_001),
        (Field.TIER_RATE_1, 0.0100001, 10_001),
        (Field.OPTION_HALF_SPREAD, 0.0100001, 10_001),
        (Field.VOLATILITY_SHOCK_INITIAL, 0.3000001, 300_001),
        (Field.EXTREME_WEIGHT, 0.3000001, 300_001),
        (Field.SHORT_OPTION_MINIMUM, 0.0030001, 3_001),
        (Field.VOLATILITY_FALL, 0.7500001, 750_001),
        # neither way is against everybody
        (Field.SURFACE_RHO, -0.2000006, -200_001),
        (Field.SURFACE_RHO, -0.2000004, -200_000),
        (Field.CARRY, 0.0100006, 10_001),
        (Field.CARRY, 0.0100004, 10_000),
        (Field.TERM_RATIO, 1.0000004, 1_000_000),
    ],
)
def test_encode_rounds_against_accounts(field: Field, value: float, encoded: int) -> None:
    assert field.encode(value) == encoded


def test_auction_is_in_the_order_of_the_contract() -> None:
    source = (DEFAULT_PATH.parent / "contracts" / "interfaces" / "ILiquidationEngine.sol").read_text()
    struct = re.search(r"struct AuctionParameters \{(.*?)\}", source, re.DOTALL)
    assert struct is not None
    members = [line.split()[1].rstrip(";") for line in struct[1].strip().splitlines()]
    profile = Config.load().profile("crypto")
    values = dict(zip(members, profile.auction.as_tuple(profile.ids), strict=True))
    assert values == {
        "duration": 1_800,
        "maximumDiscount": WAD // 2,
        "target": WAD // 2,
        "fundShare": WAD // 10,
        "nativeUnderlying": 2,
        "minimumRemainder": 500 * WAD,
        "minimumFee": 5 * WAD,
        "throughput": WAD // 200,
        "maximumFee": 200 * WAD,
        "minimumThroughput": 250_000 * WAD,
        "throughputWindow": 1_800,
    }
    equities = Config.load().profile("sp500-nasdaq")
    assert equities.auction.native_underlying is None
    assert equities.auction.as_tuple(equities.ids)[4] == 0


def test_limits_leave_a_budget_of_steps_in_a_window() -> None:
    fields = Config.load().profile("crypto").fields
    assert fields[Field.TAIL_INITIAL].limits() == (250_000, 100_000, 43_200, False, 500_000, 200_000, 604_800)
    assert fields[Field.CORRELATION_LOW].limits() == (100_000, 100_000, 43_200, True, 200_000, 200_000, 604_800)
    assert fields[Field.OFFSET].limits() is None


def test_encode_leaves_whole_integers_alone() -> None:
    for field in Field:
        assert [field.encode(field.decode(encoded)) for encoded in (-7, 0, 2_000_001)] == [-7, 0, 2_000_001]


def test_fields_are_those_of_the_contracts() -> None:
    text = (DEFAULT_PATH.parent / "contracts" / "types" / "Field.sol").read_text()
    onchain = {
        name: int(number) for name, number in re.findall(r"Field internal constant (\w+) = Field.wrap\((\d+)\)", text)
    }
    assert {field.name: field.value for field in Field} == onchain


def test_direction_is_that_of_the_contracts() -> None:
    text = (DEFAULT_PATH.parent / "contracts" / "types" / "Field.sol").read_text()

    def mask(name: str) -> int:
        terms = re.search(rf"constant {name} = ([^;]*);", text)
        assert terms is not None
        pairs = (term.split("<<") for term in terms[1].split("|"))
        return sum(int(bits.strip(), 0) << int(shift) for bits, shift in pairs)

    looser_up, neutral = mask("LOOSER_UP"), mask("NEUTRAL")
    for field in Field:
        expected = 0 if neutral >> field & 1 else -1 if looser_up >> field & 1 else 1
        assert field.direction == expected, field


def test_encode_refuses_what_does_not_fit() -> None:
    with pytest.raises(PlimsollError, match="does not fit"):
        Field.TAIL_INITIAL.encode(3000)


def test_volatility_answer_of_percent_a_day_is_scaled_by_the_root_of_a_year() -> None:
    feed = Config.load().profile("sepolia").underlying("BTC").volatility
    one_percent_a_day = feed.scale  # an answer of one whole unit
    assert abs(one_percent_a_day / 10**18 - 0.01 * 365**0.5) < 1e-12


def test_starting_at_changes_only_first_answers() -> None:
    profile = Config.load().profile("crypto").starting_at({"BTC": 58_123.45}, {"ETH": 1.5})
    assert profile.underlying("BTC").price.answer(profile.underlying("BTC").price.initial or 0) == 5_812_345_000_000
    assert profile.underlying("ETH").volatility.initial == Decimal("1.5")
    assert profile.underlying("ETH").price == Config.load().profile("crypto").underlying("ETH").price
    with pytest.raises(PlimsollError, match="no underlying 'DOGE'"):
        profile.starting_at({"DOGE": 1.0})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"2h", offset = 0.6', '"2h", offset = 0.9', r"common\.offset: 0\.9 is outside its bounds 0 to 0\.8"),
        ('"2h", minimum = 100,', '"2 hours", minimum = 100,', r"BTC\.price\.heartbeat: expected a duration"),
        ("0x1b44F3514812d835EB1BDB0acB33d3fA3351Ee43", "0x1b44", r"BTC\.price\.feed: expected an address"),
        ('unit = "percent a day"', 'unit = "percent a week"', r"volatility\.unit: expected one of 'fraction a year'"),
        ("chain_id = 31337", 'chain_id = "31337"', r"networks\.local\.chain_id: expected a whole number, not '31337'"),
        ('profile = "crypto"', 'profile = "cryptic"', r"networks\.local\.profile: no profile 'cryptic'"),
        ("minimum_fee = 5\n", "minimumfee = 5\n", r"auctions\.crypto\.minimum_fee: missing"),
        ("minimum_fee = 5\n", "minimum_fee = 5\nbonus = 1\n", r"auctions\.crypto\.bonus: unknown key"),
        ("minimum_fee = 5\n", "minimum_fee = 201\n", r"crypto\.minimum_fee: 201 is above the maximum_fee 200"),
        ("maximum_fee = 200\n", "maximum_fee = 79_000_000_001\n", r"crypto\.maximum_fee: 79000000001 is above"),
        ('native_underlying = "ETH"', 'native_underlying = "SOL"', r"native_underlying: 'SOL' is no underlying"),
        ('native_underlying = "ETH"', "native_underlying = 2", r"native_underlying: expected text, not 2"),
        ("throughput = 0.005\n", "throughput = 1.1\n", r"auctions\.crypto\.throughput: 1\.1 is above 1"),
        ('throughput_window = "30m"', 'throughput_window = "2d"', r"crypto\.throughput_window: must be a day at most"),
        ("minimum_throughput = 250_000", "minimum_throughput = 0", r"minimum_throughput: must be above 0"),
        ("maximum_discount = 0.5", "maximum_discount = 0", r"crypto\.maximum_discount: must be above 0"),
        ("maximum_discount = 0.5", "maximum_discount = 1.1", r"crypto\.maximum_discount: 1\.1 is above 1"),
        ('duration = "30m"', 'duration = "25h"', r"auctions\.crypto\.duration: must be a day at most"),
        ("fund_share = 0.1", "fund_share = 0.51", r"auctions\.crypto\.fund_share: 0\.51 is above 0\.5"),
        ("impact = { minimum = 0, maximum = 5 }\n", "", r"fields\.impact: missing"),
        ("minimum = 100, maximum = 10_000_000", "minimum = 100, maximum = 10", r"minimum: 100 is not below"),
        ("tail_initial = 4.0", "tail_initial = nan", r"crypto\.underlying\.tail_initial: expected a finite number"),
        ("id = 2", "id = 1", r"underlyings: ids must rise"),
        ("expiry_days = [7, 30]", "expiry_days = [30, 7]", r"options\.expiry_days: expected rising whole numbers"),
        ("expiry_days = [7, 30]", 'expiry_days = ["7"]', r"BTC\.options\.expiry_days: expected rising whole numbers"),
        ("strikes = [0.8, 0.9, 1, 1.1, 1.2]", "strikes = [0]", r"options\.strikes: expected parts of the price"),
        ("strikes = [0.8, 0.9, 1, 1.1, 1.2]", "strikes = [nan]", r"options\.strikes: expected parts of the price"),
        ("tick = 1_000 }", "tick = 1_000_000 }", r"BTC\.options\.tick: 1000000 is so large"),
        ("tick = 1_000 }", "tick = 0.000000015 }", r"BTC\.options\.tick: .* more than 8 decimals"),
        ("surface_rho = -0.25", "surface_rho = -0.96", r"underlying\.surface_rho: -0\.96 is outside its bounds"),
        (', underlying = "ETH"', ', underlying = "DOGE"', r"assets\.WETH\.underlying: no underlying 'DOGE'"),
        ('ramp = "6h"', 'ramp = "8d"', r"governance\.ramp: expected 0\.25 to 168 hours"),
        ('loosening_delay = "1d"', 'loosening_delay = "30m"', r"governance\.loosening_delay: expected 1 to 336 hours"),
        ("age_cap = 1.5", "age_cap = 0.5", r"governance\.age_cap: 0\.5 is below 1"),
        ("budget_steps = 2", "budget_steps = 0", r"governance\.budget_steps: 0 is below 1"),
        ('window = "7d"', 'window = "7 days"', r"governance\.window: expected a duration"),
        ('{ kind = "perpetual", size = 1 }', '{ kind = "future", size = 1 }', r"long\.legs\[0\]\.kind: expected"),
        ('{ kind = "perpetual", size = 1 }', '{ kind = "perpetual", size = 0 }', r"long\.legs\[0\]\.size: .* is none"),
        ('[{ kind = "perpetual", size = 1 }]', "[]", r"references\.long\.legs: expected 1 to 8, not 0"),
        ("[networks.local]", "[networks.local", "not valid TOML"),
    ],
)  # fmt: skip
def test_load_names_the_key_of_a_mistake(tmp_path: Path, text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(PlimsollError) as fault:
        load(tmp_path, text.replace(old, new))
    assert re.search(message, str(fault.value)), str(fault.value)
    assert "\n" not in str(fault.value)


def test_load_says_what_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match="cannot be read"):
        Config.load(tmp_path / "none.toml")


def test_url_asks_for_its_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Config.load().network("sepolia")
    monkeypatch.delenv("SEPOLIA_RPC_URL", raising=False)
    with pytest.raises(PlimsollError, match="set the environment variable SEPOLIA_RPC_URL"):
        network.url()
    monkeypatch.setenv("SEPOLIA_RPC_URL", "https://node.example")
    assert network.url() == "https://node.example"


@pytest.mark.parametrize(
    ("lookup", "message"), [("network", "unknown network 'x'"), ("profile", "unknown profile 'x'")]
)
def test_lookup_lists_what_there_is(lookup: str, message: str) -> None:
    with pytest.raises(PlimsollError, match=message):
        getattr(Config.load(), lookup)("x")
