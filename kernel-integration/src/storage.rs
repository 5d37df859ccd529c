//! What tasks have in the storage of extensions: it begins with a thread or process and ends with it.

use seccomp_runtime::{AccessError, Map, TaskScope};

use crate::filter::Filter;
use crate::state::ThreadState;

/// The ids of a thread and of its thread group, as [`HelperHost::task`](seccomp_runtime::HelperHost::task) has
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskIds {
    /// The thread's.
    pub thread: u64,
    /// Its thread group's.
    pub group: u64,
}

impl TaskIds {
    const fn of(self, scope: TaskScope) -> u64 {
        match scope {
            TaskScope::Thread => self.thread,
            TaskScope::ThreadGroup => self.group,
        }
    }
}

impl ThreadState {
    /// The thread of this state, which is `parent`, makes `child`: what its extensions remember of it goes to the
    /// child where they are to copy it. Call it together with [`inherit`](Self::inherit), under the same lock.
    /// Allocates nothing; takes the spin locks of maps.
    ///
    /// # Errors
    ///
    /// There is no place for it. The child has nothing, and must not start: its filters would have forgotten.
    pub fn task_forked(&self, parent: TaskIds, child: TaskIds) -> Result<(), AccessError> {
        let is_new = |scope| parent.of(scope) != child.of(scope);
        for map in maps(self).filter(|map| is_new(map.options().scope)) {
            let scope = map.options().scope;
            map.task_forked(parent.of(scope), child.of(scope))
                .inspect_err(|_| forget(self, child, is_new(TaskScope::ThreadGroup)))?;
        }
        Ok(())
    }

    /// The thread of this state, which is `task`, has ended, and so has its group if `group_ended`: what extensions
    /// remember of them is forgotten. Call it when neither makes another call, before their ids can be others'.
    /// Allocates nothing; takes the spin locks of maps.
    pub fn task_exited(&self, task: TaskIds, group_ended: bool) {
        forget(self, task, group_ended);
    }
}

fn forget(state: &ThreadState, task: TaskIds, group_ended: bool) {
    for map in maps(state) {
        match map.options().scope {
            TaskScope::Thread => map.task_exited(task.thread),
            TaskScope::ThreadGroup if group_ended => map.task_exited(task.group),
            TaskScope::ThreadGroup => {}
        }
    }
}

/// The maps of a thread's extensions.
pub(crate) fn maps(state: &ThreadState) -> impl Iterator<Item = &Map> {
    let newest = state.filter().filter(|newest| newest.has_extensions());
    let filters = newest.into_iter().flat_map(Filter::newest_first);
    let extensions = filters.filter_map(|filter| filter.program().extension());
    extensions.flat_map(|extension| extension.maps()).map(|map| &**map)
}
