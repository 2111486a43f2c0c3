//! How the allocator keeps what was freed: bodies that were held are given back to the system.
#![allow(unsafe_code, reason = "the allocator of the C library has no other way to be told")]

/// Allocations of so many octets or more are mapped by themselves and unmapped when they are freed (mallopt(3)).
/// glibc begins with the same number, but raises it up to 32 MiB with each mapping that is freed; from then on what was
/// held lies in the heap, between smaller things that outlive it, and stays with the process.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: libc::c_int = 128 << 10;

/// Keeps large allocations apart for as long as the process lasts. To be called once, before there are any. Other C
/// libraries than glibc need not be told.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: changes one number of the allocator, under its own lock.
        let taken = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM) };
        if taken != 1 {
            tracing::warn!("the allocator does not take a threshold: memory of held bodies may stay in use");
        }
    }
}

/// Gives free pages between what is in use back to the system (malloc_trim(3)). Walks the heaps of all threads under their
/// locks: for when memory is short.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes no pointer, and leaves what is in use where it is.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn large_allocations_stay_apart_from_the_heap() {
        give_back();
        // One that is freed would put all smaller ones into the heap, where nearly none begins like a mapping does:
        // behind the two words that malloc(3) keeps in front of it. A gap of other tests may take one in all the same.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(30 << 20)));
        let held: Vec<Vec<u8>> =
            (0..6).map(|_| std::hint::black_box(Vec::with_capacity((20 << 20) + 100))).collect();
        let mapped = held.iter().filter(|body| body.as_ptr().addr() % 4096 == 2 * size_of::<usize>());
        assert!(mapped.count() >= 4);
    }
}
