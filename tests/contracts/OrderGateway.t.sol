// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { OrderGateway } from "contracts/OrderGateway.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "contracts/interfaces/IInstrumentRegistry.sol";
import { IOrderGateway } from "contracts/interfaces/IOrderGateway.sol";
import { ContractWallet } from "contracts/testing/ContractWallet.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Order } from "contracts/types/Order.sol";

/// @notice What a signed order allows, and what nobody can make of one.
contract OrderGatewayTest is Accounts {
    uint64 private account;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 1_000_000);
    }

    // ─── Price and direction

    function test_settleTrade_buyerPaysTheMakersLimit() public {
        (uint256 price, uint256 quote) = _settle(_makerOrder(-2e18, 49_900e18), _takerOrder(2e18, 50_500e18), 2e18);
        assertEq(price, 49_900e18);
        assertEq(quote, 99_800e18);
        (int256 size, int256 paid) = house.positionOf(account, btcPerpetual);
        assertEq(size, 2e18);
        assertEq(paid, -99_825e18); // and 25 for moving the premium by 100 dollars
        (size, paid) = house.positionOf(makerAccount, btcPerpetual);
        assertEq(size, -2e18);
        assertEq(paid, 99_800e18);
        requireBooks(0); // ZERO-SUM
    }

    function test_settleTrade_sellerGetsTheMakersLimit() public {
        (uint256 price, uint256 quote) = _settle(_makerOrder(1e18, 50_100e18), _takerOrder(-1e18, 49_000e18), 1e18);
        assertEq(price, 50_100e18);
        assertEq(quote, 50_100e18);
        assertEq(sizeOf(account, btcPerpetual), -1e18);
        requireBooks(0);
    }

    /// @notice One BTC a hundred dollars above the index costs the taker 12.50 more, and that must be within its limit.
    function test_settleTrade_takerLimitIncludesTheFeeForABuyer() public {
        Order memory sell = _makerOrder(-1e18, 50_100e18);
        Order memory buy = _takerOrder(1e18, 50_112.5e18 - 1);
        _expectFailure(sell, buy, 1e18, _takerLimit(buy, 50_112.5e18 - 1, 50_100e18, 12.5e18));
        _settle(sell, _takerOrder(1e18, 50_112.5e18), 1e18);
    }

    function test_settleTrade_takerLimitIncludesTheFeeForASeller() public {
        Order memory buy = _makerOrder(1e18, 49_900e18);
        Order memory sell = _takerOrder(-1e18, 49_887.5e18 + 1);
        _expectFailure(buy, sell, 1e18, _takerLimit(sell, 49_887.5e18 + 1, 49_900e18, 12.5e18));
        _settle(buy, _takerOrder(-1e18, 49_887.5e18), 1e18);
    }

    /// @notice Who sells for nothing has nothing to pay the fee with, whatever its limit.
    function test_settleTrade_revertsIfTheFeeIsMoreThanASellerGets() public {
        Order memory sell = _takerOrder(-1e18, 0);
        _expectFailure(_makerOrder(1e18, 31e18), sell, 1e18, _takerLimit(sell, 0, 31e18, 31.25e18));
        _settle(_makerOrder(1e18, 31.25e18), sell, 1e18);
    }

    /// @notice The maker pays and gets its limit price, whichever side it is on: the fee is not its business.
    function testFuzz_settleTrade_chargesTheTakerAlone(uint256 size, uint256 price, bool takerBuys) public {
        size = bound(size, 1e12, 5e18);
        price = bound(price, 49_000e18, 51_000e18);
        int256 signed = takerBuys ? int256(size) : -int256(size);
        Order memory taker = _takerOrder(signed, takerBuys ? type(uint128).max : 0);
        (, uint256 quote) = _settle(_makerOrder(-signed, price), taker, size);
        (, int256 got) = house.positionOf(makerAccount, btcPerpetual);
        (, int256 paid) = house.positionOf(account, btcPerpetual);
        assertEq(got, takerBuys ? int256(quote) : -int256(quote));
        assertEq(got + paid, -int256(house.fees()));
    }

    function test_settleTrade_revertsIfTheOrdersDoNotCross() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        _expectNoMatch(sell, _takerOrder(-1e18, 50_000e18)); // same side
        _expectNoMatch(sell, _takerOrder(1e18, 50_000e18 - 1)); // buyer's limit below the price
        _expectNoMatch(_makerOrder(1e18, 50_000e18), _takerOrder(-1e18, 50_000e18 + 1)); // seller's above it
        _expectNoMatch(sell, orderOf(account, ethPerpetual, 1e18, 50_000e18)); // another instrument
        _expectNoMatch(_makerOrder(0, 50_000e18), _takerOrder(0, 50_000e18)); // neither side
    }

    function test_settleTrade_revertsIfThereIsNoSuchPrice() public {
        _expectFailure(
            _makerOrder(-1e18, 1e27 + 1),
            _takerOrder(1e18, 1e27 + 1),
            1e18,
            abi.encodeWithSelector(IClearingHouse.ClearingHousePriceTooHigh.selector, 1e27 + 1)
        );
    }

    function test_settleTrade_revertsIfAnOrderWantsNothing() public {
        Order memory nothing = _takerOrder(0, 50_000e18);
        _expectFailure(
            _makerOrder(1e18, 50_000e18),
            nothing,
            1e18,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayOverfilled.selector, gateway.orderHash(nothing), 0, 1e18)
        );
        _expectFailure(
            _makerOrder(-1e18, 50_000e18),
            _takerOrder(1e18, 50_000e18),
            0,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayZeroSize.selector)
        );
    }

    function test_settleTrade_revertsIfInstrumentIsNotListed() public {
        Instrument unlisted = InstrumentLibrary.perpetual(7);
        _expectFailure(
            orderOf(makerAccount, unlisted, -1e18, 1e18),
            orderOf(account, unlisted, 1e18, 1e18),
            1e18,
            abi.encodeWithSelector(IInstrumentRegistry.RegistryUnknownInstrument.selector, unlisted)
        );
    }

    function test_settleTrade_revertsIfTradingWithItself() public {
        _expectFailure(
            orderOf(account, btcPerpetual, -1e18, 50_000e18),
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(IClearingHouse.ClearingHouseSelfTrade.selector, account)
        );
    }

    // ─── Filling

    function test_settleTrade_fillsInPartsAndNoFurther() public {
        Order memory sell = _makerOrder(-5e18, 50_000e18);
        bytes32 hash = gateway.orderHash(sell);
        _settle(sell, _takerOrder(2e18, 50_000e18), 2e18);
        assertEq(gateway.filledOf(hash), 2e18);
        _expectFailure(
            sell,
            _takerOrder(4e18, 50_000e18),
            3e18 + 1,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayOverfilled.selector, hash, 3e18, 3e18 + 1)
        );
        _settle(sell, _takerOrder(4e18, 50_000e18), 3e18);
        assertEq(gateway.filledOf(hash), 5e18);
        assertEq(sizeOf(account, btcPerpetual), 5e18);
    }

    function test_settleTrade_revertsIfReplayed() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        Order memory buy = _takerOrder(1e18, 50_000e18);
        _settle(sell, buy, 1e18);
        _expectFailure(
            sell,
            buy,
            1e18,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayOverfilled.selector, gateway.orderHash(sell), 0, 1e18)
        );
        // Not even the smallest part.
        _expectFailure(
            sell,
            buy,
            1,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayOverfilled.selector, gateway.orderHash(sell), 0, 1)
        );
    }

    function testFuzz_settleTrade_neverFillsMoreThanWasSigned(uint256 signed, uint256 first, uint256 second) public {
        signed = bound(signed, 1, 10e18);
        first = bound(first, 1, signed);
        second = bound(second, 1, 20e18);
        Order memory sell = _makerOrder(-int256(signed), 50_000e18);
        _settle(sell, _takerOrder(20e18, 50_000e18), first);
        Order memory buy = _takerOrder(20e18, 50_000e18);
        if (second > signed - first) {
            _expectFailure(
                sell,
                buy,
                second,
                abi.encodeWithSelector(
                    IOrderGateway.OrderGatewayOverfilled.selector, gateway.orderHash(sell), signed - first, second
                )
            );
        } else {
            _settle(sell, buy, second);
        }
        assertLe(gateway.filledOf(gateway.orderHash(sell)), signed);
        requireBooks(0);
    }

    function test_settleTrade_revertsAfterExpiry() public {
        Order memory sell = _makerOrder(-2e18, 50_000e18);
        Order memory buy = _takerOrder(2e18, 50_000e18);
        vm.warp(sell.expiry); // the last second counts
        _settle(sell, buy, 1e18);
        vm.warp(sell.expiry + 1);
        _expectFailure(
            sell,
            buy,
            1e18,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayExpired.selector, gateway.orderHash(sell), sell.expiry)
        );
    }

    // ─── Cancelling

    function test_cancelOrder_cancelsWhatIsLeftOfOne() public {
        Order memory sell = _makerOrder(-2e18, 50_000e18);
        _settle(sell, _takerOrder(1e18, 50_000e18), 1e18);
        vm.prank(maker);
        gateway.cancelOrder(sell);
        assertEq(gateway.filledOf(gateway.orderHash(sell)), type(uint128).max);
        _expectFailure(
            sell,
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayCancelled.selector, gateway.orderHash(sell))
        );
        _settle(_makerOrder(-1e18, 50_000e18), _takerOrder(1e18, 50_000e18), 1e18);
    }

    function test_cancelAllOrders_cancelsEveryOneSignedSoFar() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        vm.prank(maker);
        assertEq(gateway.cancelAllOrders(makerAccount), 1);
        _expectFailure(
            sell,
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayCancelled.selector, gateway.orderHash(sell))
        );
        // Signed ahead of its time is no better.
        Order memory early = _makerOrder(-1e18, 50_000e18);
        early.epoch += 1;
        _expectFailure(
            early,
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayCancelled.selector, gateway.orderHash(early))
        );
        _settle(_makerOrder(-1e18, 50_000e18), _takerOrder(1e18, 50_000e18), 1e18);
    }

    function test_cancelOrder_isForTheOwnerAndTradingOperators() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        bytes memory refusal =
            abi.encodeWithSelector(IOrderGateway.OrderGatewayNotAuthorised.selector, makerAccount, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(refusal);
        gateway.cancelOrder(sell);
        vm.expectRevert(refusal);
        gateway.cancelAllOrders(makerAccount);
        vm.stopPrank();
        vm.prank(maker);
        house.setOperator(makerAccount, stranger, 2); // may withdraw, not trade
        vm.prank(stranger);
        vm.expectRevert(refusal);
        gateway.cancelOrder(sell);
        vm.prank(maker);
        house.setOperator(makerAccount, stranger, 1);
        vm.prank(stranger);
        gateway.cancelOrder(sell);
        assertEq(gateway.filledOf(gateway.orderHash(sell)), type(uint128).max);
    }

    // ─── Signatures

    function test_settleTrade_revertsIfForged() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        Order memory buy = _takerOrder(1e18, 50_000e18);
        bytes memory good = sign(sell);
        bytes memory buySignature = sign(buy);
        bytes[5] memory bad;
        bad[0] = _signAs("stranger", sell); // another key
        bad[1] = ""; // none
        bad[2] = sign(_makerOrder(-2e18, 50_000e18)); // another order's
        bad[3] = abi.encodePacked(good, uint8(0)); // too long
        bad[4] = _malleable(good); // s in the upper half
        for (uint256 i; i < bad.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(sell), maker)
            );
            gateway.settleTrade(sell, bad[i], buy, buySignature, 1e18);
        }
        // The taker's is looked at as well.
        vm.expectRevert(
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(buy), trader)
        );
        gateway.settleTrade(sell, good, buy, good, 1e18);
    }

    /// @notice A signature is for every field it covers: change one and it is another order.
    function testFuzz_settleTrade_revertsIfChangedAfterSigning(uint256 field, uint64 change) public {
        change = uint64(bound(change, 1, 1e6));
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        Order memory buy = _takerOrder(1e18, 50_000e18);
        (bytes memory signature, bytes memory buySignature) = (sign(sell), sign(buy));
        field = bound(field, 0, 3);
        if (field == 0) sell.size -= int128(int64(change));
        else if (field == 1) sell.limitPrice -= change;
        else if (field == 2) sell.expiry += change;
        else sell.salt += change;
        vm.expectRevert(
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(sell), maker)
        );
        gateway.settleTrade(sell, signature, buy, buySignature, 1e17);
    }

    function test_settleTrade_revertsIfSignerHasNoPermission() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        sell.signer = stranger;
        _expectFailure(
            sell,
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(
                IOrderGateway.OrderGatewaySignerNotAuthorised.selector, gateway.orderHash(sell), makerAccount, stranger
            )
        );
    }

    function test_settleTrade_acceptsATradingOperatorsSignatureWhileItIsOne() public {
        address operator = actor("operator");
        vm.prank(maker);
        house.setOperator(makerAccount, operator, 1);
        Order memory sell = _makerOrder(-2e18, 50_000e18);
        sell.signer = operator;
        _settle(sell, _takerOrder(1e18, 50_000e18), 1e18);
        assertEq(sizeOf(account, btcPerpetual), 1e18);
        vm.prank(maker);
        house.setOperator(makerAccount, operator, 2);
        _expectFailure(
            sell,
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(
                IOrderGateway.OrderGatewaySignerNotAuthorised.selector, gateway.orderHash(sell), makerAccount, operator
            )
        );
    }

    function test_settleTrade_dropsOrdersOfThePreviousOwner() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        vm.prank(maker);
        house.transferOwnership(makerAccount, stranger);
        _expectFailure(
            sell,
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(
                IOrderGateway.OrderGatewaySignerNotAuthorised.selector, gateway.orderHash(sell), makerAccount, maker
            )
        );
        // They are the first owner's again with the account, until it cancels them.
        vm.prank(stranger);
        house.transferOwnership(makerAccount, maker);
        _settle(sell, _takerOrder(1e17, 50_000e18), 1e17);
        vm.prank(maker);
        gateway.cancelAllOrders(makerAccount);
        _expectFailure(
            sell,
            _takerOrder(1e18, 50_000e18),
            1e18,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayCancelled.selector, gateway.orderHash(sell))
        );
    }

    /// @notice Every owner counts its own epochs: cancelling under one owner cancels nothing that another signed.
    function test_cancelAllOrders_countsEpochsByOwner() public {
        vm.prank(maker);
        gateway.cancelAllOrders(makerAccount);
        vm.prank(maker);
        house.transferOwnership(makerAccount, stranger);
        assertEq(gateway.epochOf(makerAccount), 0);
        vm.prank(stranger);
        house.transferOwnership(makerAccount, maker);
        assertEq(gateway.epochOf(makerAccount), 1);
    }

    function test_settleTrade_acceptsAContractWallet() public {
        address guardian = actor("guardian");
        ContractWallet wallet = new ContractWallet(guardian);
        vm.prank(guardian);
        uint64 safe = abi.decode(wallet.execute(address(house), abi.encodeCall(house.createAccount, ())), (uint64));
        assertEq(house.ownerOf(safe), address(wallet));
        dollar.mint(address(wallet), 100_000e6);
        vm.startPrank(guardian);
        wallet.execute(address(dollar), abi.encodeCall(dollar.approve, (address(house), 100_000e6)));
        wallet.execute(address(house), abi.encodeCall(house.deposit, (safe, CASH, 100_000e6)));
        vm.stopPrank();

        Order memory buy = orderOf(safe, btcPerpetual, 1e18, 50_000e18);
        assertEq(buy.signer, address(wallet));
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        bytes memory sellSignature = sign(sell);
        bytes memory forged = _signAs("stranger", buy);
        vm.expectRevert(
            abi.encodeWithSelector(
                IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(buy), address(wallet)
            )
        );
        gateway.settleTrade(sell, sellSignature, buy, forged, 1e18);
        gateway.settleTrade(sell, sellSignature, buy, _signAs("guardian", buy), 1e18);
        assertEq(sizeOf(safe, btcPerpetual), 1e18);
    }

    function test_orderHash_isForThisContractOnThisChain() public {
        Order memory sell = _makerOrder(-1e18, 50_000e18);
        Order memory buy = _takerOrder(1e18, 50_000e18);
        (bytes memory sellSignature, bytes memory buySignature) = (sign(sell), sign(buy));
        bytes32 hash = gateway.orderHash(sell);
        OrderGateway other = new OrderGateway(house);
        assertTrue(other.orderHash(sell) != hash);
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        assertTrue(gateway.orderHash(sell) != hash);
        vm.expectRevert(
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(sell), maker)
        );
        gateway.settleTrade(sell, sellSignature, buy, buySignature, 1e18);
        vm.chainId(chain);
        gateway.settleTrade(sell, sellSignature, buy, buySignature, 1e18);
    }

    /// @notice EIP-712, put together here from its parts.
    function test_orderHash_followsEip712() public {
        Order memory order = _makerOrder(-3e18, 123e18);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Plimsoll"),
                keccak256("1"),
                block.chainid,
                address(gateway)
            )
        );
        bytes32 message = keccak256(
            bytes.concat(
                keccak256(
                    "Order(uint64 account,address signer,uint128 instrument,int128 size,uint128 limitPrice,uint64 expiry,uint64 epoch,uint256 salt)"
                ),
                abi.encode(order.account, order.signer, order.instrument, order.size),
                abi.encode(order.limitPrice, order.expiry, order.epoch, order.salt)
            )
        );
        assertEq(gateway.orderHash(order), keccak256(abi.encodePacked(hex"1901", domain, message)));
    }

    // ─── Extremes

    /// @notice The smallest int128 has no positive twin; an order over it is an order like any other.
    function test_settleTrade_takesTheSmallestSizeThereIs() public {
        Order memory sell = _makerOrder(type(int128).min, 50_000e18);
        assertEq(sell.size, type(int128).min);
        _settle(sell, _takerOrder(type(int128).max, 50_000e18), 1e18);
        assertEq(sizeOf(account, btcPerpetual), 1e18);
        assertEq(gateway.filledOf(gateway.orderHash(sell)), 1e18);
        _expectFailure(
            sell,
            _takerOrder(type(int128).max, 50_000e18),
            uint256(uint128(type(int128).max)) + 2,
            abi.encodeWithSelector(
                IOrderGateway.OrderGatewayOverfilled.selector,
                gateway.orderHash(sell),
                uint256(1 << 127) - 1e18,
                uint256(1 << 127) + 1
            )
        );
    }

    function test_settleTrade_revertsIfPositionIsTooLarge() public {
        setPrice(BTC, 1);
        _expectFailure(
            _makerOrder(type(int128).min, 1e6),
            _takerOrder(type(int128).max, 1e6),
            1e28 + 1,
            abi.encodeWithSelector(
                IClearingHouse.ClearingHousePositionTooLarge.selector, account, btcPerpetual, int256(1e28 + 1)
            )
        );
    }

    function test_settleTrade_revertsIfTooManyPositions() public {
        deposit(account, CASH, 1e15);
        for (uint16 underlying = 3; underlying <= 65; ++underlying) {
            priceOracle.setPriceFeed(underlying, priceOracle.feedOf(BTC));
            volatilityOracle.setVolatilityFeed(underlying, volatilityOracle.feedOf(BTC));
            registry.listPerpetual(underlying);
        }
        calibrateLike(BTC, 3, 65);
        for (uint16 underlying = 1; underlying <= 64; ++underlying) {
            trade(account, makerAccount, InstrumentLibrary.perpetual(underlying), 1e16, 50_000e18);
        }
        assertEq(house.portfolioOf(account).positions.length, 64);
        Instrument last = InstrumentLibrary.perpetual(65);
        uint64 other = openAccount(stranger, 1_000_000);
        _expectFailure(
            orderOf(other, last, -1e16, 50_000e18),
            orderOf(account, last, 1e16, 50_000e18),
            1e16,
            abi.encodeWithSelector(IClearingHouse.ClearingHouseTooManyPositions.selector, account, 64)
        );
        // A place that is given up is free again, and the one that took it is still found.
        trade(account, makerAccount, InstrumentLibrary.perpetual(10), -1e16, 50_000e18);
        trade(account, other, last, 1e16, 50_000e18);
        trade(account, makerAccount, InstrumentLibrary.perpetual(64), -1e16, 50_000e18);
        assertEq(house.portfolioOf(account).positions.length, 63);
        assertEq(sizeOf(account, InstrumentLibrary.perpetual(64)), 0);
    }

    // ─── Helpers

    function _makerOrder(int256 size, uint256 price) private returns (Order memory) {
        return orderOf(makerAccount, btcPerpetual, size, price);
    }

    function _takerOrder(int256 size, uint256 price) private returns (Order memory) {
        return orderOf(account, btcPerpetual, size, price);
    }

    function _settle(Order memory first, Order memory second, uint256 size)
        private
        returns (uint256 price, uint256 quote)
    {
        (bytes memory firstSignature, bytes memory secondSignature) = (sign(first), sign(second));
        return gateway.settleTrade(first, firstSignature, second, secondSignature, uint128(size));
    }

    function _expectFailure(Order memory first, Order memory second, uint256 size, bytes memory why) private {
        (bytes memory firstSignature, bytes memory secondSignature) = (sign(first), sign(second));
        vm.expectRevert(why);
        gateway.settleTrade(first, firstSignature, second, secondSignature, uint128(size));
    }

    function _expectNoMatch(Order memory first, Order memory second) private {
        _expectFailure(
            first,
            second,
            1e18,
            abi.encodeWithSelector(
                IOrderGateway.OrderGatewayDoNotMatch.selector, gateway.orderHash(first), gateway.orderHash(second)
            )
        );
    }

    function _takerLimit(Order memory order, uint256 limit, uint256 quote, uint256 fee)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IOrderGateway.OrderGatewayTakerLimit.selector, gateway.orderHash(order), limit, quote, fee
        );
    }

    function _signAs(string memory name, Order memory order) private returns (bytes memory) {
        (, uint256 key) = makeAddrAndKey(name);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, gateway.orderHash(order));
        return abi.encodePacked(r, s, v);
    }

    /// @dev The other signature of the same key over the same digest: n − s, v flipped.
    function _malleable(bytes memory signature) private pure returns (bytes memory) {
        uint256 n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        (bytes32 r, uint256 s, uint8 v) = (bytes32(0), 0, 0);
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
        return abi.encodePacked(r, n - s, v == 27 ? uint8(28) : uint8(27));
    }
}
