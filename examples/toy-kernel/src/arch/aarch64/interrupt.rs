//! The interrupt controller (GICv2) and the virtual timer, its only source.

use core::ptr;

use aarch64_cpu::asm;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_TVAL_EL0, Readable, Writeable};

use crate::memory::{Range, virtual_address};

const DISTRIBUTOR: usize = 0x0800_0000;
const CPU_INTERFACE: usize = 0x0801_0000;

/// Where it is.
pub(super) const DEVICE: Range = Range::of(DISTRIBUTOR, 0x2_0000);

/// The number of the virtual timer's interrupt.
const TIMER: u32 = 27;

mod register {
    use super::{CPU_INTERFACE, DISTRIBUTOR};

    pub const DISTRIBUTOR_CONTROL: usize = DISTRIBUTOR;
    pub const ENABLE: usize = DISTRIBUTOR + 0x100;
    pub const CONTROL: usize = CPU_INTERFACE;
    pub const PRIORITY_MASK: usize = CPU_INTERFACE + 0x4;
    pub const ACKNOWLEDGE: usize = CPU_INTERFACE + 0xc;
    pub const END: usize = CPU_INTERFACE + 0x10;
}

pub(super) fn init() {
    write(register::DISTRIBUTOR_CONTROL, 1);
    write(register::ENABLE, 1 << TIMER);
    write(register::PRIORITY_MASK, 0xff);
    write(register::CONTROL, 1);
    next_tick();
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
}

fn next_tick() {
    CNTV_TVAL_EL0.set(CNTFRQ_EL0.get() / 100);
}

/// Serves what has interrupted.
pub(super) fn serve() {
    let acknowledged = read(register::ACKNOWLEDGE);
    next_tick();
    write(register::END, acknowledged);
}

/// Sleeps until the next interrupt.
pub fn idle() {
    asm::wfi();
    serve();
}

fn address(register: usize) -> *mut u32 {
    ptr::with_exposed_provenance_mut(virtual_address(register))
}

fn write(register: usize, value: u32) {
    // SAFETY: a register of the controller, which is mapped and which only this module uses.
    unsafe { address(register).write_volatile(value) };
}

fn read(register: usize) -> u32 {
    // SAFETY: as above.
    unsafe { address(register).read_volatile() }
}
