//! An allocator that counts what a closure takes from the heap, per thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Heap use while [`measure`] ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeapUse {
    /// Largest single allocation in bytes.
    pub(crate) largest: usize,
    /// Number of allocations, growing ones included.
    pub(crate) count: usize,
    /// Bytes taken and not given back; negative if earlier ones were given back.
    pub(crate) kept: isize,
}

thread_local! {
    static USE: Cell<Option<HeapUse>> = const { Cell::new(None) };
}

/// Returns what `work` returns, and what it took from the heap on this thread.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, HeapUse) {
    USE.set(Some(HeapUse::default()));
    let result = work();
    (result, USE.take().expect("set above"))
}

fn note(taken: usize, given_back: usize) {
    // While a thread ends its cell may be gone; nothing is measured then.
    let _ = USE.try_with(|cell| {
        if let Some(mut heap) = cell.get() {
            if taken > 0 {
                heap.largest = heap.largest.max(taken);
                heap.count += 1;
            }
            heap.kept += taken.cast_signed() - given_back.cast_signed();
            cell.set(Some(heap));
        }
    });
}

struct Counting;

#[allow(
    unsafe_code,
    reason = "a global allocator cannot be written without; it only counts and asks the system's"
)]
// SAFETY: every call goes to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: `ptr` came from the system allocator with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size, layout.size());
        // SAFETY: `ptr` came from the system allocator with this layout.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_counter_sees_what_is_taken_and_given_back() {
    let (vec, heap) = measure(|| Vec::<u8>::with_capacity(100));
    assert_eq!(heap, HeapUse { largest: 100, count: 1, kept: 100 });
    let ((), heap) = measure(|| drop(vec));
    assert_eq!(heap, HeapUse { largest: 0, count: 0, kept: -100 });
}
