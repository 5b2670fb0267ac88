// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { TestToken } from "./TestToken.sol";

/// @title ReentrantToken
/// @notice Makes one call during its next transfer, as tokens with hooks let a receiver do after balances have moved and a
/// sender before (ERC-777), and keeps what came of it.
contract ReentrantToken is TestToken {
    address private _target;
    bytes private _data;

    /// @notice Whether the call went through, and what it returned or reverted with.
    bool public succeeded;
    bytes public result;

    bool private _before;

    constructor(uint8 decimals_) TestToken("Reentrant Token", "HOOK", decimals_) { }

    /// @notice The call comes after balances have moved.
    function arm(address target, bytes calldata data) external {
        (_target, _data, _before) = (target, data, false);
    }

    /// @notice The call comes before.
    function armBefore(address target, bytes calldata data) external {
        (_target, _data, _before) = (target, data, true);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (_before) _call();
        super._update(from, to, value);
        if (!_before) _call();
    }

    function _call() private {
        address target = _target;
        if (target == address(0)) return;
        _target = address(0);
        (succeeded, result) = target.call(_data);
    }
}
