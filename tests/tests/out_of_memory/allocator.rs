//! An allocator that refuses memory when it is told to, to one thread.

#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};

/// Which allocations are refused.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// None.
    Plenty,
    /// The one of this index.
    Only(usize),
    /// That and all after it.
    From(usize),
    /// Those that would make it more than so many bytes together.
    Bytes(usize),
}

/// What was allocated under a [`Rule`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// How many allocations were asked for.
    pub asked: usize,
    /// How many of them were refused.
    pub refused: usize,
    /// Bytes that are there now, less those that were there before and were freed.
    pub live: isize,
}

/// An allocation.
#[derive(Clone, Copy, Debug)]
pub struct Allocation {
    pub size: usize,
    /// Bytes that were there with it.
    pub live: usize,
    pub origin: Origin,
}

/// How an allocation is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It may be refused.
    Fallible,
    /// And it is given back at once, for those that follow.
    Probe,
    /// It may not be refused: rbpf's, and those of an `Arc`.
    Infallible,
}

struct Refusing;

thread_local! {
    static RULE: Cell<Rule> = const { Cell::new(Rule::Plenty) };
    static ACCOUNT: Cell<Account> = const {
        Cell::new(Account { asked: 0, refused: 0, live: 0 })
    };
    /// Whether what is allocated is not of the product.
    static SPARED: Cell<bool> = const { Cell::new(true) };
    /// Where allocations are written down.
    static RECORD: RefCell<Option<Vec<Allocation>>> = const { RefCell::new(None) };
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

// SAFETY: the system's allocator does it all. What is kept here allocates only while `SPARED` is set, and then it is
// not touched.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_refused(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let account = ACCOUNT.get();
        ACCOUNT.set(Account { live: account.live - layout.size().cast_signed(), ..account });
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Writes an allocation down; whether it is refused.
fn is_refused(size: usize) -> bool {
    let account = ACCOUNT.get();
    let live = account.live + size.cast_signed();
    if SPARED.get() {
        ACCOUNT.set(Account { live, ..account });
        return false;
    }
    let is_refused = match RULE.get() {
        Rule::Plenty => false,
        Rule::Only(index) => account.asked == index,
        Rule::From(index) => account.asked >= index,
        Rule::Bytes(bytes) => live > bytes.cast_signed(),
    };
    let now = Account {
        asked: account.asked + 1,
        refused: account.refused + usize::from(is_refused),
        live: if is_refused { account.live } else { live },
    };
    spared(|| {
        RECORD.with_borrow_mut(|record| {
            if let Some(record) = record {
                record.push(Allocation { size, live: live.max(0).cast_unsigned(), origin: origin() });
            }
        });
    });
    // Without what writing it down took.
    ACCOUNT.set(now);
    is_refused
}

/// Who allocates, by the function that is nearest to the allocator.
fn origin() -> Origin {
    let frames = Backtrace::force_capture().to_string();
    let functions = frames.lines().filter_map(|line| line.trim_start().split_once(": "));
    let mut functions = functions.map(|(_, function)| function.trim_start_matches('<'));
    let mut in_table = false;
    let owner = functions.find(|function| {
        in_table |= function.starts_with("hashbrown::");
        ["rbpf::", "alloc::sync::Arc", "seccomp_", "cbpf_translator::"]
            .iter()
            .any(|owner| function.starts_with(owner))
    });
    match owner.unwrap_or_default() {
        "cbpf_translator::fallible::probe" => Origin::Probe,
        owner if owner.starts_with("rbpf::") || owner.starts_with("alloc::sync::Arc") => Origin::Infallible,
        // Where rbpf's function was inlined and is not named: in this module, only rbpf has hash tables.
        owner if in_table && owner.starts_with("seccomp_runtime::engine::") => Origin::Infallible,
        _ => Origin::Fallible,
    }
}

/// Calls `f` under a rule.
pub fn under<R>(rule: Rule, f: impl FnOnce() -> R) -> (R, Account) {
    ACCOUNT.set(Account::default());
    RULE.set(rule);
    SPARED.set(false);
    let result = f();
    SPARED.set(true);
    RULE.set(Rule::Plenty);
    (result, ACCOUNT.get())
}

/// Calls `f` with plenty of memory; what was allocated.
pub fn recorded<R>(f: impl FnOnce() -> R) -> (R, Vec<Allocation>) {
    RECORD.set(Some(Vec::new()));
    let (result, _) = under(Rule::Plenty, f);
    (result, RECORD.take().unwrap_or_default())
}

/// Calls `f`, which is no part of the product: it gets all memory that it wants.
pub fn spared<R>(f: impl FnOnce() -> R) -> R {
    let was = SPARED.replace(true);
    let result = f();
    SPARED.set(was);
    result
}
