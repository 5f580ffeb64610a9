//! Exit codes. They are API.

/// How a command ended. The numbers are documented and stable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything held.
    #[default]
    Pass = 0,
    /// A defect of the tool itself.
    Internal = 1,
    /// Wrong usage or an invalid scenario; nothing was run.
    Usage = 2,
    /// A gate or the audit failed; where offsets are moved: it was refused, and nothing was written.
    GateFailed = 3,
    /// The measurement cannot decide.
    Inconclusive = 4,
    /// There is nothing to compare with.
    NoBaseline = 5,
    /// Broker, container or worker failed.
    Infrastructure = 6,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl ExitCode {
    /// The code that a process of ours ended with; `None` where it is none of ours.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        const ALL: [ExitCode; 8] = [
            ExitCode::Pass,
            ExitCode::Internal,
            ExitCode::Usage,
            ExitCode::GateFailed,
            ExitCode::Inconclusive,
            ExitCode::NoBaseline,
            ExitCode::Infrastructure,
            ExitCode::Interrupted,
        ];
        ALL.into_iter().find(|code| *code as i32 == number)
    }

    /// Over several scenarios the weightiest counts: 130 > 6 > 1 > 2 > 3 > 5 > 4 > 0.
    #[must_use]
    pub fn weight(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Inconclusive => 1,
            Self::NoBaseline => 2,
            Self::GateFailed => 3,
            Self::Usage => 4,
            Self::Internal => 5,
            Self::Infrastructure => 6,
            Self::Interrupted => 7,
        }
    }
}
