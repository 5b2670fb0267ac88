// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { TestToken } from "./TestToken.sol";

/// @title FeeOnTransferToken
/// @notice Delivers 1% less than it was asked to, as tokens that tax their transfers do. With `taxSender` it takes the
/// 1% from the sender on top instead.
contract FeeOnTransferToken is TestToken {
    bool public taxSender;

    constructor(uint8 decimals_) TestToken("Taxed Token", "TAX", decimals_) { }

    function setTaxSender(bool taxSender_) external {
        taxSender = taxSender_;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from == address(0) || to == address(0)) return;
        super._update(taxSender ? from : to, address(0), value / 100);
    }
}
