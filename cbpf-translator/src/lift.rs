//! stub
use crate::check::Checked;
use crate::ebpf::Insn;
use crate::error::LiftError;
/// stub
pub fn lift(_program: &[Insn]) -> Result<Checked, LiftError> {
    Err(LiftError::Prologue)
}
