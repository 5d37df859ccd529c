//! The helpers that every program can be granted. Numbers, prototypes and results are Linux's where it has them.

use cbpf_translator::ebpf::Reg;

use super::format::Line;
use super::{Call, Capability, HelperRow, UserFault};
use crate::engine::ebpf::CallError;
use crate::map::{AccessError, MAX_KEY_SIZE, Map, Update};
use crate::verifier::{Arg, Helper, MapKind, Prototype, Return};

const EFAULT: i32 = -14;
const EINVAL: i32 = -22;
const EAGAIN: i32 = -11;
const EPERM: i32 = -1;

const KEYED: &[MapKind] = &[MapKind::Array, MapKind::Hash, MapKind::LruHash];
const RING: Arg = Arg::Map { kinds: &[MapKind::Ring], writes: true };
const TASK: Arg = Arg::Map { kinds: &[MapKind::TaskStorage], writes: true };

/// Every helper of this crate; the first is `map_lookup_elem`.
pub static HELPERS: [HelperRow; 17] = [
    row(
        1,
        "map_lookup_elem",
        Capability::Maps,
        map_lookup,
        Return::MapValueOrNull { map: Reg::R1 },
        [
            Arg::Map { kinds: KEYED, writes: false },
            Arg::Key { map: Reg::R1 },
            Arg::None,
            Arg::None,
            Arg::None,
        ],
    ),
    row(
        2,
        "map_update_elem",
        Capability::Maps,
        map_update,
        Return::Number,
        [
            Arg::Map { kinds: KEYED, writes: true },
            Arg::Key { map: Reg::R1 },
            Arg::Value { map: Reg::R1 },
            Arg::Number,
            Arg::None,
        ],
    ),
    row(
        3,
        "map_delete_elem",
        Capability::Maps,
        map_delete,
        Return::Number,
        [Arg::Map { kinds: KEYED, writes: true }, Arg::Key { map: Reg::R1 }, Arg::None, Arg::None, Arg::None],
    ),
    row(5, "ktime_get_ns", Capability::Time, ktime, Return::Number, [Arg::None; 5]),
    row(
        6,
        "trace_printk",
        Capability::Trace,
        trace_printk,
        Return::Number,
        [Arg::Readable { size: Reg::R2 }, Arg::Size { zero: false }, Arg::Number, Arg::Number, Arg::Number],
    ),
    row(7, "get_prandom_u32", Capability::Random, random, Return::Number, [Arg::None; 5]),
    row(14, "get_current_pid_tgid", Capability::Identity, pid_tgid, Return::Number, [Arg::None; 5]),
    row(15, "get_current_uid_gid", Capability::Identity, uid_gid, Return::Number, [Arg::None; 5]),
    row(
        16,
        "get_current_comm",
        Capability::Identity,
        comm,
        Return::Number,
        [Arg::Writable { size: Reg::R2 }, Arg::Size { zero: false }, Arg::None, Arg::None, Arg::None],
    ),
    row(
        112,
        "probe_read_user",
        Capability::UserMemory,
        read_user,
        Return::Number,
        [Arg::Writable { size: Reg::R2 }, Arg::Size { zero: true }, Arg::Number, Arg::None, Arg::None],
    ),
    row(
        114,
        "probe_read_user_str",
        Capability::UserMemory,
        read_user_str,
        Return::LengthOrErrno { size: Reg::R2 },
        [Arg::Writable { size: Reg::R2 }, Arg::Size { zero: true }, Arg::Number, Arg::None, Arg::None],
    ),
    row(
        130,
        "ringbuf_output",
        Capability::Events,
        ring_output,
        Return::Number,
        [RING, Arg::Readable { size: Reg::R3 }, Arg::Size { zero: true }, Arg::Number, Arg::None],
    ),
    row(
        131,
        "ringbuf_reserve",
        Capability::Events,
        ring_reserve,
        Return::MemoryOrNull { size: Reg::R2 },
        [RING, Arg::ConstSize, Arg::Number, Arg::None, Arg::None],
    ),
    row(
        132,
        "ringbuf_submit",
        Capability::Events,
        ring_submit,
        Return::Void,
        [Arg::ReadableFixed(1), Arg::Number, Arg::None, Arg::None, Arg::None],
    ),
    row(
        133,
        "ringbuf_discard",
        Capability::Events,
        ring_discard,
        Return::Void,
        [Arg::ReadableFixed(1), Arg::Number, Arg::None, Arg::None, Arg::None],
    ),
    row(
        156,
        "task_storage_get",
        Capability::Maps,
        task_storage,
        Return::MapValueOrNull { map: Reg::R1 },
        [TASK, Arg::Number, Arg::Number, Arg::Number, Arg::None],
    ),
    row(
        157,
        "task_storage_delete",
        Capability::Maps,
        task_storage_delete,
        Return::Number,
        [TASK, Arg::Number, Arg::None, Arg::None, Arg::None],
    ),
];

#[expect(clippy::panic, reason = "only where a row is no constant, and all are")]
const fn row(
    id: i32,
    name: &'static str,
    capability: Capability,
    function: super::HelperFn,
    returns: Return,
    args: [Arg; 5],
) -> HelperRow {
    let Ok(prototype) = Prototype::new(args, returns) else { panic!("no prototype") };
    let helper = Helper { id, prototype };
    HelperRow::new(name, helper, capability, function)
}

/// A number for r0; errors are negative.
const fn number(value: i32) -> u64 {
    value as i64 as u64
}

/// What an operation on a map is to the program.
fn status(result: Result<(), AccessError>) -> u64 {
    result.map_or_else(|error| number(error.errno()), |()| 0)
}

/// Calls `with` with the key at the argument's address.
fn with_key<'a, R>(
    call: &mut Call<'_, 'a>,
    argument: usize,
    len: usize,
    with: impl FnOnce(&mut Call<'_, 'a>, &[u8]) -> R,
) -> Result<R, CallError> {
    // What most keys fit is not worth clearing more for.
    const SHORT: usize = 16;
    let address = call.number(argument);
    let (mut short, mut long);
    let buffer: &mut [u8] = if len <= SHORT {
        short = [0; SHORT];
        &mut short
    } else {
        long = [0; MAX_KEY_SIZE as usize];
        &mut long
    };
    let key = buffer.get_mut(..len).ok_or(CallError::BadAddress)?;
    call.read(address, key)?;
    Ok(with(call, key))
}

fn map_lookup(call: &mut Call<'_, '_>) -> u64 {
    let Ok(map) = call.map(0) else { return 0 };
    match with_key(call, 1, map.key_len(), |_, key| map.find(key)) {
        Ok(Ok(address)) => address,
        _ => 0,
    }
}

fn map_update(call: &mut Call<'_, '_>) -> u64 {
    let (Ok(map), value) = (call.map(0), call.number(2)) else { return number(EINVAL) };
    if !map.is_writable() {
        return number(EPERM);
    }
    let update = match Update::from_flags(call.number(3)) {
        Ok(update) => update,
        Err(error) => return number(error.errno()),
    };
    let updated = with_key(call, 1, map.key_len(), |call, key| {
        map.update_with(key, update, |words, offset, part| {
            call.copy_to_words(value.wrapping_add(part.start as u64), words, offset, part.len()).ok()
        })
    });
    updated.map_or(number(EFAULT), status)
}

fn map_delete(call: &mut Call<'_, '_>) -> u64 {
    let Ok(map) = call.map(0) else { return number(EINVAL) };
    if !map.is_writable() {
        return number(EPERM);
    }
    with_key(call, 1, map.key_len(), |_, key| status(map.remove(key))).unwrap_or(number(EFAULT))
}

fn ktime(call: &mut Call<'_, '_>) -> u64 {
    call.host().monotonic_ns()
}

fn random(call: &mut Call<'_, '_>) -> u64 {
    call.host().random().into()
}

fn pid_tgid(call: &mut Call<'_, '_>) -> u64 {
    let host = call.host();
    u64::from(host.tgid()) << 32 | u64::from(host.pid())
}

fn uid_gid(call: &mut Call<'_, '_>) -> u64 {
    let host = call.host();
    u64::from(host.gid()) << 32 | u64::from(host.uid())
}

fn comm(call: &mut Call<'_, '_>) -> u64 {
    let name = call.host().comm();
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let (to, size) = (call.number(0), call.number(1));
    // The last byte is 0, whatever the name.
    let len = (len as u64).min(size.saturating_sub(1));
    let Some(name) = usize::try_from(len).ok().and_then(|len| name.get(..len)) else { return number(EINVAL) };
    let put = call.write(to, name).and_then(|()| call.clear(to.wrapping_add(len), size.saturating_sub(len)));
    put.map_or(number(EFAULT), |()| 0)
}

fn trace_printk(call: &mut Call<'_, '_>) -> u64 {
    /// The longest format.
    const MAX_FORMAT: u64 = 128;
    let len = call.number(1).min(MAX_FORMAT);
    let mut format = [0; MAX_FORMAT as usize];
    let Some(format) = usize::try_from(len).ok().and_then(|len| format.get_mut(..len)) else {
        return number(EINVAL);
    };
    if call.read(call.number(0), format).is_err() {
        return number(EFAULT);
    }
    // As in Linux, a format is ended by its last byte.
    if format.last() != Some(&0) {
        return number(EINVAL);
    }
    let Some(line) = Line::new(format, [call.number(2), call.number(3), call.number(4)]) else {
        return number(EINVAL);
    };
    let len = line.text().len() as u64;
    if call.spend(len).is_err() {
        return number(EFAULT);
    }
    call.host().trace(line.text().trim_end_matches('\n'));
    len
}

/// How much of user memory is copied at once. No such piece that begins at a multiple of it crosses a page.
const PIECE: u64 = 256;

fn read_user(call: &mut Call<'_, '_>) -> u64 {
    let (to, size, from) = (call.number(0), call.number(1), call.number(2));
    let mut done = 0_u64;
    while done < size {
        let len = size.saturating_sub(done).min(PIECE);
        if copy_piece(call, from.wrapping_add(done), to.wrapping_add(done), len).is_err() {
            return give_up(call, to, size);
        }
        done = done.saturating_add(len);
    }
    0
}

/// Follows `strncpy_from_user_nofault`: the length with the 0, which is there even where the string is longer.
fn read_user_str(call: &mut Call<'_, '_>) -> u64 {
    let (to, size, from) = (call.number(0), call.number(1), call.number(2));
    let mut done = 0_u64;
    while done < size {
        let here = from.wrapping_add(done);
        let len = size.saturating_sub(done).min(PIECE.saturating_sub(here % PIECE));
        match copy_piece(call, here, to.wrapping_add(done), len) {
            Err(UserFault) => return give_up(call, to, size),
            Ok(Some(end)) => {
                let len = done.saturating_add(end).saturating_add(1);
                // Behind the string is nothing of the user's.
                let rest = call.clear(to.wrapping_add(len), size.saturating_sub(len));
                return rest.map_or(number(EFAULT), |()| len);
            }
            Ok(None) => done = done.saturating_add(len),
        }
    }
    let last = size.checked_sub(1).map(|last| to.wrapping_add(last));
    match last.map(|last| call.clear(last, 1)) {
        Some(Err(_)) => number(EFAULT),
        _ => size,
    }
}

/// Copies a piece of user memory; says where the first 0 in it is.
fn copy_piece(call: &mut Call<'_, '_>, from: u64, to: u64, len: u64) -> Result<Option<u64>, UserFault> {
    let mut piece = [0; PIECE as usize];
    let piece = usize::try_from(len).ok().and_then(|len| piece.get_mut(..len)).ok_or(UserFault)?;
    call.host().copy_from_user(from, piece)?;
    let end = piece.iter().position(|byte| *byte == 0);
    call.write(to, piece).map_err(|_| UserFault)?;
    Ok(end.map(|end| end as u64))
}

/// What the program was to get is 0, as after `copy_from_user_nofault`.
fn give_up(call: &mut Call<'_, '_>, to: u64, size: u64) -> u64 {
    // Bad addresses end the run anyway.
    let _ = call.clear(to, size);
    number(EFAULT)
}

fn ring_output(call: &mut Call<'_, '_>) -> u64 {
    let (Ok(map), from, len, flags) = (call.map(0), call.number(1), call.number(2), call.number(3)) else {
        return number(EINVAL);
    };
    let Some(ring) = map.ring() else { return number(EINVAL) };
    if !are_wakeup_flags(flags) {
        return number(EINVAL);
    }
    // The ring clears as much, besides.
    if call.spend(len).is_err() {
        return number(EAGAIN);
    }
    let (Some(reservation), Ok(len)) = (ring.reserve(len), usize::try_from(len)) else {
        return number(EAGAIN);
    };
    let copied = call.copy_to_words(from, ring.words(), reservation.offset(), len);
    ring.finish(reservation, copied.is_err());
    copied.map_or(number(EFAULT), |()| 0)
}

fn ring_reserve(call: &mut Call<'_, '_>) -> u64 {
    // As in Linux, there are no flags yet.
    if call.number(2) != 0 {
        return 0;
    }
    call.reserve(0, call.number(1)).unwrap_or(0)
}

fn ring_submit(call: &mut Call<'_, '_>) -> u64 {
    call.release(call.number(0), false);
    0
}

fn ring_discard(call: &mut Call<'_, '_>) -> u64 {
    call.release(call.number(0), true);
    0
}

/// `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP`; whether a reader is woken is the embedder's.
const fn are_wakeup_flags(flags: u64) -> bool {
    flags & !3 == 0
}

/// The map of r1, and the key of the task that is asked for: 0 is the one that makes the call, and the only one.
fn storage<'a>(call: &mut Call<'_, 'a>) -> Option<(&'a Map, [u8; 8])> {
    let map = call.map(0).ok()?;
    let task = call.host().task(map.options().scope).to_ne_bytes();
    (call.number(1) == 0).then_some((map, task))
}

/// r2 and r3, the task and the first value, have to be 0: the calling task's, and zeroes.
fn task_storage(call: &mut Call<'_, '_>) -> u64 {
    /// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
    const CREATE: u64 = 1;
    let Some((map, task)) = storage(call) else { return 0 };
    let found = match (call.number(2), call.number(3)) {
        (0, 0) => map.find(&task),
        (0, CREATE) => {
            // A new one is cleared.
            if call.spend(map.value_len() as u64).is_err() {
                return 0;
            }
            map.find_or_create(&task)
        }
        _ => return 0,
    };
    found.unwrap_or(0)
}

fn task_storage_delete(call: &mut Call<'_, '_>) -> u64 {
    match storage(call) {
        Some((map, task)) => status(map.remove(&task)),
        None => number(EINVAL),
    }
}
