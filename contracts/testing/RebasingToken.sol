// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { TestToken } from "./TestToken.sol";

/// @title RebasingToken
/// @notice Changes balances without a transfer, as rebasing tokens do.
contract RebasingToken is TestToken {
    constructor(uint8 decimals_) TestToken("Rebasing Token", "REB", decimals_) { }

    /// @notice Add to a holder's balance, or take from it.
    function rebase(address holder, int256 amount) external {
        if (amount >= 0) _mint(holder, uint256(amount));
        else _burn(holder, uint256(-amount));
    }
}
