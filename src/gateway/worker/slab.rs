//! Connections by a small number that is used again, told apart by a generation.

/// Names one connection of one worker for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    slot: u32,
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    item: Option<Box<T>>,
}

/// The connections of a worker.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Adds what `make` returns for its id.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(ConnectionId) -> T) -> ConnectionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, item: None });
            u32::try_from(self.slots.len() - 1).expect("descriptors end long before")
        });
        let place = &mut self.slots[slot as usize];
        let id = ConnectionId { slot, generation: place.generation };
        place.item = Some(Box::new(make(id)));
        id
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        let place = self.slots.get_mut(id.slot as usize).filter(|place| place.generation == id.generation)?;
        place.item.as_deref_mut()
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Box<T>> {
        let place = self.slots.get_mut(id.slot as usize).filter(|place| place.generation == id.generation)?;
        let item = place.item.take()?;
        // 2^32 connections in one slot until a late acknowledgement could meet the wrong one.
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(item)
    }

    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        let open = (0u32..).zip(&self.slots).filter(|(_, place)| place.item.is_some());
        open.map(|(slot, place)| ConnectionId { slot, generation: place.generation }).collect()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|place| place.item.as_deref_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_does_not_reach_the_next_connection_in_its_slot() {
        let mut slab = Slab::new();
        let old = slab.insert_with(|_| "old");
        assert_eq!(slab.remove(old).as_deref(), Some(&"old"));
        let new = slab.insert_with(|_| "new");
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!((slab.get_mut(new).copied(), slab.len(), slab.ids()), (Some("new"), 1, vec![new]));
    }
}
