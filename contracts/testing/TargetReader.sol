// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IRiskParameters } from "../interfaces/IRiskParameters.sol";

/// @title TargetReader
/// @notice Answers what the chain would, once every ramp has ended. Never deployed: an eth_call imagines it in the place of the
/// ParameterSteward, which alone may ask RiskParameters for that, and the steward's own code elsewhere.
contract TargetReader {
    struct Query {
        address target;
        bytes data;
    }

    struct Answer {
        bool ok;
        bytes data;
    }

    /// @param steward Where the steward's own code is imagined: what is asked of the steward is asked of that, with the steward's storage.
    function read(IRiskParameters riskParameters, address steward, Query[] calldata queries)
        external
        returns (Answer[] memory answers)
    {
        riskParameters.measureAtTarget(true);
        answers = new Answer[](queries.length);
        for (uint256 i; i < queries.length; ++i) {
            (address target, bytes calldata data) = (queries[i].target, queries[i].data);
            (answers[i].ok, answers[i].data) =
                target == address(this) ? steward.delegatecall(data) : target.staticcall(data);
        }
    }
}
