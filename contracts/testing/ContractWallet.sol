// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IERC1271 } from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import { Address } from "@openzeppelin/contracts/utils/Address.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title ContractWallet
/// @notice The smallest wallet that is a contract: its guardian signs for it (ERC-1271) and makes its calls.
contract ContractWallet is IERC1271 {
    address public immutable guardian;

    error ContractWalletOnlyGuardian(address sender);

    constructor(address guardian_) {
        guardian = guardian_;
    }

    function execute(address target, bytes calldata data) external returns (bytes memory) {
        if (msg.sender != guardian) revert ContractWalletOnlyGuardian(msg.sender);
        return Address.functionCall(target, data);
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address signer, ECDSA.RecoverError fault,) = ECDSA.tryRecover(hash, signature);
        return fault == ECDSA.RecoverError.NoError && signer == guardian
            ? IERC1271.isValidSignature.selector
            : bytes4(0xffffffff);
    }
}
