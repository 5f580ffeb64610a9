//! A poll's budget: what is granted and what is available add up, always.

/// Records of one poll. `granted + available == capacity`, at entry and exit of every method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    capacity: u64,
    granted: u64,
    available: u64,
}

impl Budget {
    /// Nothing of it is granted yet.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let budget = Self { capacity, granted: 0, available: capacity };
        budget.assert_conserved();
        budget
    }

    /// What can still be granted.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.assert_conserved();
        self.available
    }

    /// What has been granted and not been given back.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.assert_conserved();
        self.granted
    }

    /// Grants records.
    ///
    /// # Panics
    /// If so many are not available: the caller asks first.
    pub fn grant(&mut self, records: u64) {
        self.assert_conserved();
        assert!(records <= self.available, "granting {records} of {} available", self.available);
        self.available -= records;
        self.granted += records;
        self.assert_conserved();
    }

    /// Takes back what was granted and not used.
    ///
    /// # Panics
    /// If so many were not granted.
    pub fn give_back(&mut self, records: u64) {
        self.assert_conserved();
        assert!(records <= self.granted, "giving back {records} of {} granted", self.granted);
        self.granted -= records;
        self.available += records;
        self.assert_conserved();
    }

    fn assert_conserved(&self) {
        assert_eq!(self.granted + self.available, self.capacity, "records appeared or vanished");
    }
}
