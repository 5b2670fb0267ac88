// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { IRiskParameters } from "./interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "./interfaces/IVolatilityOracle.sol";
import { RiskMath } from "./libraries/RiskMath.sol";
import { FieldLibrary as Fields } from "./types/Field.sol";
import { Margin, Requirement, UnderlyingMargin } from "./types/Margin.sol";
import { Collateral, Portfolio, Position } from "./types/Portfolio.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title MarginEngine
/// @notice Level by oracle, shape by calibration: price and volatility are read from the oracles at the moment of the
/// check, tails, correlations and impact from RiskParameters.
///
///     range_u(h)     = z_u(h) · σ_u · √((h + age_u) / year)
///     risk(h)        = max(grid, expected shortfall)      grid = (1 − offset) · Σ standalone + offset · joint
///     requirement(h) = m · risk(h) + liquidity
///
/// Initial uses the long horizon and the live volatility, maintenance the short one and the rate-limited volatility.
/// A delta-one exposure is linear, so of the design's price nodes only the two ends of the range can be the worst, and
/// the extreme nodes (twice the range at 35%) never bind.
contract MarginEngine is IMarginEngine {
    uint256 private constant WAD = 1e18;

    IClearingHouse public immutable clearingHouse;
    IPriceOracle public immutable priceOracle;
    IVolatilityOracle public immutable volatilityOracle;
    IRiskParameters public immutable riskParameters;

    constructor(
        IClearingHouse clearingHouse_,
        IPriceOracle priceOracle_,
        IVolatilityOracle volatilityOracle_,
        IRiskParameters riskParameters_
    ) {
        clearingHouse = clearingHouse_;
        priceOracle = priceOracle_;
        volatilityOracle = volatilityOracle_;
        riskParameters = riskParameters_;
    }

    /// @inheritdoc IMarginEngine
    function marginOf(uint64 account) external view returns (Margin memory) {
        return _margin(clearingHouse.portfolioOf(account));
    }

    /// @inheritdoc IMarginEngine
    function marginOfPortfolio(Portfolio calldata portfolio) external view returns (Margin memory) {
        return _margin(portfolio);
    }

    /// @inheritdoc IMarginEngine
    function haircutOf(uint16 asset, uint256 amount) external view returns (uint256 value, uint256 haircut) {
        IClearingHouse.Asset memory listed = clearingHouse.assetOf(asset);
        if (listed.underlying == 0) revert MarginEngineUnknownAsset(asset);
        Portfolio memory portfolio;
        portfolio.collateral = new Collateral[](1);
        portfolio.collateral[0] = Collateral(asset, listed.underlying, amount * 10 ** (18 - listed.decimals));
        Margin memory margin = _margin(portfolio);
        value = margin.collateral;
        haircut = value == 0 ? 0 : FixedPoint.fullMulDivUp(margin.initial.total, WAD, value);
    }

    function _margin(Portfolio memory portfolio) private view returns (Margin memory margin) {
        margin.fresh = true;
        margin.cash = portfolio.cash;
        margin.underlyings = _exposures(portfolio);
        _readMarket(margin);
        _value(portfolio, margin);
        _require(margin);
    }

    /// @dev Nets positions and collateral into one delta an underlying, ids rising.
    function _exposures(Portfolio memory portfolio) private pure returns (UnderlyingMargin[] memory found) {
        found = new UnderlyingMargin[](portfolio.positions.length + portfolio.collateral.length);
        uint256 count;
        for (uint256 i; i < portfolio.positions.length; ++i) {
            Position memory position = portfolio.positions[i];
            count = _addDelta(found, count, position.instrument.underlying(), position.size);
        }
        for (uint256 i; i < portfolio.collateral.length; ++i) {
            Collateral memory held = portfolio.collateral[i];
            count = _addDelta(found, count, held.underlying, int256(held.amount));
        }
        // The array was sized for the case that no two lines share an underlying.
        assembly ("memory-safe") {
            mstore(found, count)
        }
    }

    function _addDelta(UnderlyingMargin[] memory found, uint256 count, uint16 underlying, int256 delta)
        private
        pure
        returns (uint256)
    {
        uint256 at = count;
        while (at != 0 && found[at - 1].underlying > underlying) --at;
        if (at != 0 && found[at - 1].underlying == underlying) {
            found[at - 1].delta += delta;
            return count;
        }
        UnderlyingMargin memory fresh = found[count];
        for (uint256 i = count; i > at; --i) {
            found[i] = found[i - 1];
        }
        fresh.underlying = underlying;
        fresh.delta = delta;
        found[at] = fresh;
        return count + 1;
    }

    function _readMarket(Margin memory margin) private view {
        for (uint256 i; i < margin.underlyings.length; ++i) {
            UnderlyingMargin memory part = margin.underlyings[i];
            (part.price, part.age) = priceOracle.price(part.underlying);
            bool fresh;
            (part.volatilityInitial, part.volatilityMaintenance,, fresh) = volatilityOracle.levels(part.underlying);
            if (!fresh) margin.fresh = false;
            part.exposure = _valueDown(part.delta, part.price);
        }
    }

    /// @dev Equity: what could be claimed in cash, at no more than what cash is worth, and collateral at market.
    function _value(Portfolio memory portfolio, Margin memory margin) private view {
        for (uint256 i; i < portfolio.positions.length; ++i) {
            Position memory position = portfolio.positions[i];
            uint256 price = _priceIn(margin, position.instrument.underlying());
            margin.unrealised += _valueDown(position.size, price) + position.quote;
        }
        for (uint256 i; i < portfolio.collateral.length; ++i) {
            Collateral memory held = portfolio.collateral[i];
            margin.collateral += FixedPoint.fullMulDiv(held.amount, _priceIn(margin, held.underlying), WAD);
        }
        int256 claim = margin.cash + margin.unrealised;
        // A debt is owed in full even while cash trades below a dollar.
        if (claim > 0 && priceOracle.hasFeed(0)) {
            (uint256 cashPrice,) = priceOracle.price(0);
            if (cashPrice < WAD) claim = int256(FixedPoint.fullMulDiv(uint256(claim), cashPrice, WAD));
        }
        margin.equity = claim + int256(margin.collateral);
    }

    function _require(Margin memory margin) private view {
        uint256 count = margin.underlyings.length;
        margin.multiplier = WAD;
        if (count == 0) return;
        uint16[] memory ids = new uint16[](count);
        for (uint256 i; i < count; ++i) {
            ids[i] = margin.underlyings[i].underlying;
        }
        (uint256 common, uint256[] memory words, uint256[] memory pairs) = riskParameters.snapshot(ids);
        int256[] memory low = new int256[](pairs.length);
        int256[] memory high = new int256[](pairs.length);
        for (uint256 i; i < pairs.length; ++i) {
            low[i] = Fields.CORRELATION_LOW.read(pairs[i]);
            high[i] = Fields.CORRELATION_HIGH.read(pairs[i]);
        }
        uint256 offset = uint256(Fields.OFFSET.read(common));
        margin.multiplier = uint256(Fields.MULTIPLIER.read(common)) * (WAD / RiskMath.MILLION);
        _fillRanges(margin, common, words);
        _requirement(margin, margin.maintenance, false, offset, low, high);
        // A hedge whose live volatility has jumped offsets more at the initial horizon than at the maintenance horizon, so
        // ordered ranges alone do not order the two risks (ORDER).
        margin.initial.risk = margin.maintenance.risk;
        _requirement(margin, margin.initial, true, offset, low, high);
    }

    /// @dev Ranges and liquidity of each underlying at both horizons. Tails are fitted per horizon and need not be
    /// ordered when the price is old, so the initial range is held at or above the maintenance range (ORDER).
    function _fillRanges(Margin memory margin, uint256 common, uint256[] memory words) private pure {
        uint256 horizonInitial = uint256(Fields.HORIZON_INITIAL.read(common));
        uint256 horizonMaintenance = uint256(Fields.HORIZON_MAINTENANCE.read(common));
        if (horizonMaintenance == 0 || margin.multiplier < WAD) revert MarginEngineNotCalibrated(0);
        for (uint256 i; i < margin.underlyings.length; ++i) {
            UnderlyingMargin memory part = margin.underlyings[i];
            uint256 word = words[Fields.SLOTS_PER_UNDERLYING * i];
            if (Fields.TAIL_MAINTENANCE.read(word) == 0 || Fields.TAIL_INITIAL.read(word) == 0) {
                revert MarginEngineNotCalibrated(part.underlying);
            }
            part.rangeMaintenance = RiskMath.rangeUp(
                part.volatilityMaintenance, uint256(Fields.TAIL_MAINTENANCE.read(word)), horizonMaintenance + part.age
            );
            part.rangeInitial = FixedPoint.max(
                part.rangeMaintenance,
                RiskMath.rangeUp(
                    part.volatilityInitial, uint256(Fields.TAIL_INITIAL.read(word)), horizonInitial + part.age
                )
            );
            word = words[Fields.SLOTS_PER_UNDERLYING * i + 1];
            uint256 notional = FixedPoint.abs(part.exposure);
            uint256 halfSpread = uint256(Fields.HALF_SPREAD.read(word));
            uint256 impact = uint256(Fields.IMPACT.read(word));
            uint256 dailyVolume = FixedPoint.max(1, uint256(Fields.AVERAGE_DAILY_VOLUME.read(word)));
            part.liquidityInitial =
                RiskMath.liquidityUp(notional, part.volatilityInitial, halfSpread, impact, dailyVolume);
            part.liquidityMaintenance =
                RiskMath.liquidityUp(notional, part.volatilityMaintenance, halfSpread, impact, dailyVolume);
        }
    }

    /// @dev `requirement.risk` comes in as the least it may be.
    function _requirement(
        Margin memory margin,
        Requirement memory requirement,
        bool initial,
        uint256 offset,
        int256[] memory low,
        int256[] memory high
    ) private pure {
        uint256 count = margin.underlyings.length;
        int256[] memory losses = new int256[](count);
        int256 lossUp;
        int256 lossDown;
        for (uint256 i; i < count; ++i) {
            UnderlyingMargin memory part = margin.underlyings[i];
            uint256 range = initial ? part.rangeInitial : part.rangeMaintenance;
            uint256 loss = RiskMath.standaloneLossUp(part.exposure, range);
            requirement.standalone += loss;
            losses[i] = part.exposure < 0 ? -int256(loss) : int256(loss);
            lossUp += RiskMath.nodeLossUp(part.exposure, range, true);
            lossDown += RiskMath.nodeLossUp(part.exposure, range, false);
            requirement.liquidity += initial ? part.liquidityInitial : part.liquidityMaintenance;
        }
        // At the middle node nothing is lost, so the joint loss is never negative.
        requirement.joint = uint256(FixedPoint.max(0, FixedPoint.max(lossUp, lossDown)));
        requirement.grid = RiskMath.gridUp(requirement.standalone, requirement.joint, offset);
        requirement.expectedShortfall = RiskMath.expectedShortfallUp(losses, low, high);
        requirement.risk =
            FixedPoint.max(requirement.risk, FixedPoint.max(requirement.grid, requirement.expectedShortfall));
        requirement.total = FixedPoint.fullMulDivUp(requirement.risk, margin.multiplier, WAD) + requirement.liquidity;
    }

    function _priceIn(Margin memory margin, uint16 underlying) private pure returns (uint256) {
        uint256 i;
        while (margin.underlyings[i].underlying != underlying) ++i;
        return margin.underlyings[i].price;
    }

    /// @dev delta · price, rounded towards minus infinity.
    function _valueDown(int256 delta, uint256 price) private pure returns (int256) {
        return delta >= 0
            ? int256(FixedPoint.fullMulDiv(uint256(delta), price, WAD))
            : -int256(FixedPoint.fullMulDivUp(FixedPoint.abs(delta), price, WAD));
    }
}
