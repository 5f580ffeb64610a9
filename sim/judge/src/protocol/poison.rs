//! A value on which the application's processing fails.

use std::num::NonZeroU64;

/// Stands behind the record's id. Values of a load hold nothing but zeros there.
const MARK: &[u8; 6] = b"poison";

/// A poison record: processing it fails until a moment, or for ever.
///
/// Its value: the id (8 bytes, big endian) as in every record, the six letters `poison`, and the
/// moment (8 bytes, big endian; nanoseconds of `CLOCK_MONOTONIC`; 0: never).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poison {
    /// When processing begins to succeed, ns of the monotonic clock; `None`: never.
    pub until_ns: Option<NonZeroU64>,
}

impl Poison {
    /// Size of its value, bytes.
    pub const BYTES: usize = 22;

    /// The value of the record with this id.
    #[must_use]
    pub fn value(self, id: u64) -> [u8; Self::BYTES] {
        let mut value = [0; Self::BYTES];
        value[..8].copy_from_slice(&id.to_be_bytes());
        value[8..14].copy_from_slice(MARK);
        value[14..].copy_from_slice(&self.until_ns.map_or(0, NonZeroU64::get).to_be_bytes());
        value
    }

    /// What a value says; `None`: it is like any other. One comparison of lengths for nearly every
    /// record.
    #[must_use]
    pub fn of(value: &[u8]) -> Option<Self> {
        let value: &[u8; Self::BYTES] = value.try_into().ok()?;
        let until = value.last_chunk::<8>()?;
        (&value[8..14] == MARK).then(|| Self { until_ns: NonZeroU64::new(u64::from_be_bytes(*until)) })
    }

    /// Whether processing fails now.
    #[must_use]
    pub fn fails_at(self, now_ns: u64) -> bool {
        self.until_ns.is_none_or(|until| now_ns < until.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poison_record_says_until_when_and_others_say_nothing() {
        for until_ns in [None, NonZeroU64::new(5)] {
            let poison = Poison { until_ns };
            let value = poison.value(0x0102_0304_0506_0708);
            assert_eq!(value.first_chunk::<8>(), Some(&[1, 2, 3, 4, 5, 6, 7, 8]));
            assert_eq!(Poison::of(&value), Some(poison));
            assert!(poison.fails_at(4));
            assert_eq!(poison.fails_at(5), until_ns.is_none());
        }
        assert_eq!(Poison::of(&[0; Poison::BYTES]), None, "an ordinary value of the same size");
        assert_eq!(Poison::of(&[]), None);
        assert_eq!(Poison::of(&[b'p'; 100]), None);
    }
}
