// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title FaultyFeed
/// @notice A feed that can be made wrong in every way a reader has to survive, which a real one cannot be on demand.
contract FaultyFeed {
    /// @dev SHORT answers with half a round, DIRTY with a round id that does not fit its type, BURN uses up all its gas.
    enum Mode {
        ANSWER,
        REVERT,
        SHORT,
        DIRTY,
        BURN
    }

    struct Round {
        int256 answer;
        uint256 startedAt;
        uint256 updatedAt;
        uint80 answeredInRound;
    }

    Mode public mode;
    uint256 private _decimals;
    uint80 private _latest;
    mapping(uint80 roundId => Round) private _rounds;

    constructor(uint256 decimals_) {
        _decimals = decimals_;
    }

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function setDecimals(uint256 decimals_) external {
        _decimals = decimals_;
    }

    function setRound(uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)
        public
    {
        _latest = roundId;
        _rounds[roundId] = Round(answer, startedAt, updatedAt, answeredInRound);
    }

    /// @notice A round without a fault, reported at `updatedAt`.
    function setRound(uint80 roundId, int256 answer, uint256 updatedAt) external {
        setRound(roundId, answer, updatedAt, updatedAt, roundId);
    }

    function decimals() external view returns (uint256) {
        return _decimals;
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return _roundData(_latest);
    }

    function getRoundData(uint80 roundId) external view returns (uint80, int256, uint256, uint256, uint80) {
        return _roundData(roundId);
    }

    function _roundData(uint80 roundId) private view returns (uint80, int256, uint256, uint256, uint80) {
        if (mode == Mode.REVERT) revert();
        if (mode == Mode.SHORT) {
            assembly ("memory-safe") {
                return(0, 80)
            }
        }
        if (mode == Mode.DIRTY) {
            assembly ("memory-safe") {
                mstore(0, shl(80, 1))
                return(0, 160)
            }
        }
        if (mode == Mode.BURN) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        Round memory round = _rounds[roundId];
        return (roundId, round.answer, round.startedAt, round.updatedAt, round.answeredInRound);
    }
}
