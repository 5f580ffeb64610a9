//! Dense numbers for lanes and partitions, each a kind of its own.

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(u32);

        impl $name {
            /// The number itself, to look something up.
            #[must_use]
            pub const fn as_usize(self) -> usize {
                self.0 as usize
            }

            /// From a position in a list.
            ///
            /// # Panics
            /// Beyond 2³² entries, which no consumer has.
            #[must_use]
            pub fn from_usize(position: usize) -> Self {
                Self(u32::try_from(position).expect("no consumer has 2^32 of them"))
            }
        }

        impl From<usize> for $name {
            fn from(position: usize) -> Self {
                Self::from_usize(position)
            }
        }
    };
}

index! {
    /// The number of a lane, in the order in which the lanes were given.
    LaneIndex
}

index! {
    /// The number that the shell gives a partition, from 0 without gaps.
    PartitionIndex
}
