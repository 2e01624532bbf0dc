//! Where a client is written to: names that can be sent anywhere, and mean nothing once their client is gone.

/// The name of a client's row in its worker's table. Used again after 2³² clients of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The row.
    pub index: u32,
    /// How many clients had the row before.
    pub generation: u32,
}

/// Which worker's writer, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterIndex(pub u16);

/// Where one client is written to, among all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The writer that owns the slot.
    pub writer: WriterIndex,
    /// The slot there.
    pub slot: Slot,
}
