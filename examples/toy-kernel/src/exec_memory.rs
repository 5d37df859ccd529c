//! Memory for filters' machine code: pages that are written, then made executable and no longer writable.
//!
//! All memory is mapped once for the kernel, so there is no second way to write these pages. That, and that no page
//! is writable and executable, is checked after each load by a walk through the page table.

use alloc::alloc::{Layout, alloc, dealloc};
use alloc::boxed::Box;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

use seccomp_kernel::runtime::translator::{SockFilter, check, fallible};
use seccomp_kernel::runtime::{EngineKind, ExecMemory, ExecMemoryError, ExecPages, Loaded};

use crate::arch;
use crate::memory::frame::PAGE;
use crate::memory::page_table::Access;
use crate::memory::{self, Walk};
use crate::println;
use crate::scheduler;

/// The most pages with code at a time. With more, filters run without the JIT.
const MAX_PAGES: usize = 512;

/// Pages with code now.
static PAGES: AtomicUsize = AtomicUsize::new(0);

/// Pages that the kernel itself is: executable as it boots.
static KERNEL_TEXT: AtomicUsize = AtomicUsize::new(0);

/// The kernel's executable memory.
#[derive(Clone, Copy, Debug)]
pub struct Code;

struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its pages, which nobody can write.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

// SAFETY: the pages are this code's own; `copy_from_nonoverlapping` puts the code at their start while they are
// writable, `memory::protect` then takes that away in the one table that maps them, flushing the old entry, and
// `synchronise_code` lets instruction fetches see the code. There is one processor. They stay so, and where they are,
// until `Pages` is dropped.
unsafe impl ExecMemory for Code {
    fn seal(&self, code: &[u8]) -> Result<Box<dyn ExecPages>, ExecMemoryError> {
        let len = code.len().max(1).next_multiple_of(PAGE);
        if PAGES.load(Ordering::Relaxed) + len / PAGE > MAX_PAGES {
            return Err(ExecMemoryError::OutOfMemory);
        }
        let layout = Layout::from_size_align(len, PAGE).map_err(|_| ExecMemoryError::OutOfMemory)?;
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or(ExecMemoryError::OutOfMemory)?;
        // SAFETY: the pages are ours and long enough, and `code` is elsewhere.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(code).cast(), code.len()) };
        let address = start.as_ptr().expose_provenance();
        memory::protect(address, len, Some(Access::Execute));
        arch::synchronise_code(address, len);
        PAGES.fetch_add(len / PAGE, Ordering::Relaxed);
        walk();
        let pages = Pages { start, layout };
        fallible::probe([size_of::<Pages>()]).map_err(|_| ExecMemoryError::OutOfMemory)?;
        Ok(Box::new(pages))
    }
}

// SAFETY: as above.
unsafe impl ExecPages for Pages {
    fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let len = self.layout.size();
        memory::protect(self.start.as_ptr().expose_provenance(), len, Some(Access::Write));
        PAGES.fetch_sub(len / PAGE, Ordering::Relaxed);
        // SAFETY: allocated so, ordinary memory again, and its owner's.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Walks the page tables in use, the kernel's and the program's: nothing is writable and executable, and the kernel can
/// execute itself and sealed code only.
fn walk() -> Walk {
    let walk = Walk::through(&memory::kernel().lock());
    let program = scheduler::current_space().map(|space| space.walk()).unwrap_or_default();
    let code = PAGES.load(Ordering::Relaxed);
    assert_eq!(walk.both + program.both, 0, "pages are writable and executable");
    assert_eq!(program.executable, 0, "pages of a program that the kernel can execute");
    assert_eq!(walk.executable, KERNEL_TEXT.load(Ordering::Relaxed) + code, "executable pages");
    walk
}

/// Shows at boot that sealed pages are as promised, and that filters run without them.
pub fn check_at_boot() {
    let before = Walk::through(&memory::kernel().lock());
    KERNEL_TEXT.store(before.executable, Ordering::Relaxed);

    let sealed = Code.seal(arch::RETURN).expect("a page for code");
    let address = sealed.start().as_ptr();
    // SAFETY: the page holds a function that does nothing, and it is executable: `seal` promises it.
    let function = unsafe { core::mem::transmute::<*mut u8, extern "C" fn()>(address) };
    function();
    let Walk { pages, executable, both } = walk();
    println!("kernel: {pages} pages, {executable} executable, {both} writable and executable");
    // SAFETY: the page is mapped, and nobody else uses it.
    let written = unsafe { arch::probe_write(address.expose_provenance()) };
    assert!(!written, "a sealed page can be written");
    println!("kernel: a write to sealed code faults");
    drop(sealed);
    let mut word = 0_u8;
    let ordinary = ptr::from_mut(&mut word).expose_provenance();
    // SAFETY: it is a variable of this function's.
    assert!(unsafe { arch::probe_write(ordinary) }, "the probe writes nothing at all");

    let (first, second) = (engine(), {
        let held = PAGES.swap(MAX_PAGES, Ordering::Relaxed);
        let engine = engine();
        PAGES.store(held, Ordering::Relaxed);
        engine
    });
    println!("kernel: filters run on {first}, and on {second} without memory for code");
}

/// What a filter runs on that is loaded now.
fn engine() -> &'static str {
    let allow = SockFilter::new(0x06, 0, 0, 0x7fff_0000);
    let program = check([allow].into()).expect("a program");
    let loaded = Loaded::load(program, EngineKind::DEFAULT, &Code).expect("memory for a filter");
    loaded.engine().name()
}
