"""Native code by which threads wait for each other, and the control block that they share.

The control block is a row of int64 words. Waiting is a loop of three stages: pause instructions,
so that what comes soon is seen at once; then the rest of the time slice is given away, so that
more threads than cores still go forward; then sleep on a condition variable. Who waits says so in
the count of sleepers *before* it looks at the word a last time, and who changes the word looks at
the count *after* it: both in sequentially consistent order, so one of them sees the other.

`graphnn.compiler.native.spmd` puts `WAITING` into its module.
"""

from __future__ import annotations

import llvmlite.binding as llvm

__all__ = [
    "BUSY",
    "CONTROL_WORDS",
    "FINISHED",
    "LINE_WORDS",
    "MAIL_JOB",
    "MAIL_ROOM",
    "MAX_WORKERS",
    "ROOM",
    "WAITING",
]

LINE_WORDS = 16
"""Two cache lines, as processors fetch them: what different threads write is so far apart."""

MAX_WORKERS = 256

# A room is where threads sleep: a count of sleepers, a mutex and a condition variable (at most
# 64 bytes each on the systems we know; a line is 128).
_MUTEX, _CONDITION, _ROOM_WORDS = LINE_WORDS, 2 * LINE_WORDS, 3 * LINE_WORDS
# The control block, and for every worker a mailbox: number of the job, its address, a room.
BUSY, _COUNT, _PHASE, FINISHED, ROOM = (LINE_WORDS * n for n in range(5))
_MAILBOXES = ROOM + _ROOM_WORDS
MAIL_JOB, MAIL_ROOM = 1, LINE_WORDS
_MAILBOX_WORDS = MAIL_ROOM + _ROOM_WORDS
CONTROL_WORDS = _MAILBOXES + MAX_WORKERS * _MAILBOX_WORDS

_PAUSES = 50
_YIELDS = 1000


def _pause() -> tuple[str, str]:
    """An instruction that tells the core that it waits in a loop, and its declaration."""
    triple = llvm.get_process_triple()
    if triple.startswith(("x86_64", "i686")):
        return "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"
    if triple.startswith(("aarch64", "arm64")):
        return "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"
    return "", ""


_PAUSE, _PAUSE_DECLARED = _pause()

WAITING = f"""
{_PAUSE_DECLARED}
declare i32 @sched_yield()
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)

; until a word has a value
define internal void @wait(ptr %word, i64 %value, ptr %room) nounwind {{
entry:
  br label %look
look:
  %i = phi i64 [ 0, %entry ], [ %i.next, %again ]
  %seen = load atomic i64, ptr %word acquire, align 8
  %there = icmp eq i64 %seen, %value
  br i1 %there, label %out, label %idle
idle:
  %i.next = add i64 %i, 1
  %soon = icmp ult i64 %i, {_PAUSES}
  br i1 %soon, label %spin, label %later
spin:
  {_PAUSE}
  br label %again
later:
  %yet = icmp ult i64 %i, {_PAUSES + _YIELDS}
  br i1 %yet, label %give, label %sleep
give:
  %y = call i32 @sched_yield()
  br label %again
again:
  br label %look
sleep:
  call void @sleep_until(ptr %word, i64 %value, ptr %room)
  br label %out
out:
  ret void
}}

define internal void @sleep_until(ptr %word, i64 %value, ptr %room) nounwind noinline {{
entry:
  %mutex = getelementptr i64, ptr %room, i64 {_MUTEX}
  %condition = getelementptr i64, ptr %room, i64 {_CONDITION}
  %l = call i32 @pthread_mutex_lock(ptr %mutex)
  %more = atomicrmw add ptr %room, i64 1 seq_cst
  br label %look
look:
  %seen = load atomic i64, ptr %word seq_cst, align 8
  %there = icmp eq i64 %seen, %value
  br i1 %there, label %out, label %sleep
sleep:
  %w = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %look
out:
  %less = atomicrmw sub ptr %room, i64 1 seq_cst
  %u = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}}

; wake those who sleep in a room; what they wait for was stored before, seq_cst
define internal void @announce(ptr %room) nounwind {{
entry:
  %sleepers = load atomic i64, ptr %room seq_cst, align 8
  %none = icmp eq i64 %sleepers, 0
  br i1 %none, label %out, label %wake
wake:
  %mutex = getelementptr i64, ptr %room, i64 {_MUTEX}
  %condition = getelementptr i64, ptr %room, i64 {_CONDITION}
  %l = call i32 @pthread_mutex_lock(ptr %mutex)
  %b = call i32 @pthread_cond_broadcast(ptr %condition)
  %u = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %out
out:
  ret void
}}

; all workers meet: the last to arrive resets the count and advances the phase
define internal void @barrier(ptr %control, i64 %workers) nounwind {{
entry:
  %count = getelementptr i64, ptr %control, i64 {_COUNT}
  %phase = getelementptr i64, ptr %control, i64 {_PHASE}
  %room = getelementptr i64, ptr %control, i64 {ROOM}
  %now = load atomic i64, ptr %phase acquire, align 8
  %next = add i64 %now, 1
  %before = atomicrmw add ptr %count, i64 1 acq_rel
  %arrived = add i64 %before, 1
  %last = icmp eq i64 %arrived, %workers
  br i1 %last, label %release, label %meet
release:
  store atomic i64 0, ptr %count monotonic, align 8
  store atomic i64 %next, ptr %phase seq_cst, align 8
  call void @announce(ptr %room)
  ret void
meet:
  call void @wait(ptr %phase, i64 %next, ptr %room)
  ret void
}}

define internal void @reset_room(ptr %room) nounwind {{
  store atomic i64 0, ptr %room monotonic, align 8
  %mutex = getelementptr i64, ptr %room, i64 {_MUTEX}
  %condition = getelementptr i64, ptr %room, i64 {_CONDITION}
  %m = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %c = call i32 @pthread_cond_init(ptr %condition, ptr null)
  ret void
}}

; a control block without workers
define void @reset(ptr %control) nounwind {{
entry:
  %busy = getelementptr i64, ptr %control, i64 {BUSY}
  %count = getelementptr i64, ptr %control, i64 {_COUNT}
  %phase = getelementptr i64, ptr %control, i64 {_PHASE}
  %room = getelementptr i64, ptr %control, i64 {ROOM}
  store i64 0, ptr %busy
  store i64 0, ptr %count
  store i64 0, ptr %phase
  call void @reset_room(ptr %room)
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %i.next, %each ]
  %box = call ptr @mailbox(ptr %control, i64 %i)
  store i64 0, ptr %box
  %box.room = getelementptr i64, ptr %box, i64 {MAIL_ROOM}
  call void @reset_room(ptr %box.room)
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, {MAX_WORKERS}
  br i1 %more, label %each, label %out
out:
  ret void
}}

define internal ptr @mailbox(ptr %control, i64 %worker) nounwind {{
  %offset = mul i64 %worker, {_MAILBOX_WORDS}
  %from = add i64 %offset, {_MAILBOXES}
  %box = getelementptr i64, ptr %control, i64 %from
  ret ptr %box
}}
"""
