//! Descriptor tables, and traps in the kernel itself.

use spin::{Mutex, Once};
use x86_64::VirtAddr;
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::{Cr2, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

use super::context::Frame;

/// The vector of the timer.
pub(super) const TIMER: u64 = 32;

/// Bytes of a stub in trap.s.
const STUB: u64 = 16;

const FAULT_STACK: u16 = 0;

unsafe extern "C" {
    static trap_stubs: u8;
    static mut context_end: u64;
    fn enter_syscall();
    #[link_name = "probe_write"]
    fn probe(address: usize) -> bool;
    fn probe_write_at();
    fn probe_write_fault();
}

/// What the processor and trap.s push for a trap in the kernel.
#[repr(C)]
pub(super) struct KernelFrame {
    vector: u64,
    error: u64,
    rip: u64,
}

static TSS: Mutex<TaskStateSegment> = Mutex::new(TaskStateSegment::new());

/// Whether the kernel can write the byte at `address`, which it can read. Writes what is there.
///
/// # Safety
///
/// The byte is mapped, and nobody else accesses it.
pub unsafe fn probe_write(address: usize) -> bool {
    // SAFETY: the caller promises it; a fault of the write goes on at `probe_write_fault`.
    unsafe { probe(address) }
}

/// Where a trap of user mode saves its registers.
pub(super) fn set_context(frame: *mut Frame) {
    let end = frame.wrapping_add(1).expose_provenance() as u64;
    TSS.lock().privilege_stack_table[0] = VirtAddr::new(end);
    // SAFETY: only this function writes it, and trap.s reads it when user mode runs: there is one processor, and
    // interrupts are off.
    unsafe { context_end = end };
}

pub(super) fn init() {
    static GDT: Once<GlobalDescriptorTable> = Once::new();
    static IDT: Once<InterruptDescriptorTable> = Once::new();
    static FAULT_STACK_MEMORY: Mutex<[u64; 1024]> = Mutex::new([0; 1024]);

    let mut tss = TSS.lock();
    let stack = FAULT_STACK_MEMORY.lock().as_mut_ptr_range().end;
    tss.interrupt_stack_table[FAULT_STACK as usize] = VirtAddr::new(stack.expose_provenance() as u64);
    let tss_address: *const TaskStateSegment = &raw const *tss;
    drop(tss);
    let gdt = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        gdt.append(Descriptor::kernel_code_segment());
        gdt.append(Descriptor::kernel_data_segment());
        gdt.append(Descriptor::user_data_segment());
        gdt.append(Descriptor::user_code_segment());
        // SAFETY: it is a static; that it changes behind its lock is what the processor expects of it.
        gdt.append(unsafe { Descriptor::tss_segment_unchecked(tss_address) });
        gdt
    });
    gdt.load();
    let (code, data) = (selector(1, 0), selector(2, 0));
    // SAFETY: the table just loaded has these.
    unsafe { CS::set_reg(code) };
    // SAFETY: as above.
    unsafe { SS::set_reg(data) };
    // SAFETY: as above; nothing uses it.
    unsafe { DS::set_reg(data) };
    // SAFETY: as above; nothing uses it.
    unsafe { ES::set_reg(data) };
    // SAFETY: as above, and it is loaded once.
    unsafe { load_tss(selector(5, 0)) };

    IDT.call_once(interrupts).load();

    Star::write(selector(4, 3), selector(3, 3), code, data).expect("selectors in their order");
    LStar::write(VirtAddr::from_ptr(enter_syscall as *const ()));
    SFMask::write(
        RFlags::INTERRUPT_FLAG | RFlags::DIRECTION_FLAG | RFlags::TRAP_FLAG | RFlags::ALIGNMENT_CHECK,
    );
    // SAFETY: the entry is there now.
    unsafe {
        Efer::update(|flags| *flags |= EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE)
    };

    let mut protections = Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE;
    let features = core::arch::x86_64::__cpuid_count(7, 0);
    for (bit, word, flag) in [
        (7, features.ebx, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (20, features.ebx, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (2, features.ecx, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
    ] {
        if word >> bit & 1 != 0 {
            protections |= flag;
        }
    }
    // SAFETY: the processor has them, and the kernel neither runs nor touches user pages: it reaches their
    // memory where all memory is mapped.
    unsafe { Cr4::update(|flags| *flags |= protections) };
    crate::println!("kernel: x86_64: {:?}", Cr4::read() & (protections - Cr4Flags::OSXMMEXCPT_ENABLE));
}

fn selector(index: u16, privilege: u16) -> SegmentSelector {
    SegmentSelector(index << 3 | privilege)
}

fn interrupts() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    let stub = |vector: u64| VirtAddr::from_ptr(&raw const trap_stubs) + vector * STUB;
    macro_rules! exceptions {
        ($($vector:literal $name:ident),* $(,)?) => {
            $(
                // SAFETY: the stub is made for this vector and its error code.
                unsafe { idt.$name.set_handler_addr(stub($vector)) };
            )*
        };
    }
    exceptions!(
        0 divide_error, 1 debug, 2 non_maskable_interrupt, 4 overflow, 5 bound_range_exceeded,
        6 invalid_opcode, 7 device_not_available, 10 invalid_tss, 11 segment_not_present,
        12 stack_segment_fault, 13 general_protection_fault, 14 page_fault, 16 x87_floating_point,
        17 alignment_check, 19 simd_floating_point,
    );
    // SAFETY: as above.
    let breakpoint = unsafe { idt.breakpoint.set_handler_addr(stub(3)) };
    breakpoint.set_privilege_level(x86_64::PrivilegeLevel::Ring3);
    // SAFETY: as above. A kernel stack that is full faults here.
    let double_fault = unsafe { idt.double_fault.set_handler_addr(stub(8)) };
    // SAFETY: this stack is used for nothing else.
    unsafe { double_fault.set_stack_index(FAULT_STACK) };
    for vector in 32..48 {
        // SAFETY: as above.
        unsafe { idt[vector].set_handler_addr(stub(vector.into())) };
    }
    idt
}

/// A trap while the kernel runs: the timer as it idles, the fault that [`probe_write`] waits for, or a mistake.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(frame: &mut KernelFrame) {
    match frame.vector {
        TIMER => super::end_of_interrupt(),
        14 if frame.rip == probe_write_at as *const () as u64 => {
            frame.rip = probe_write_fault as *const () as u64;
        }
        vector => panic!(
            "exception {vector} in the kernel at {:#x}, error {:#x}, address {:#x}",
            frame.rip,
            frame.error,
            Cr2::read_raw()
        ),
    }
}
