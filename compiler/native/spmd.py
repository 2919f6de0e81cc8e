"""Native code that runs jobs: one program that several workers run together (SPMD).

Words are int64. A *job* is a row of words (`JOB_WORDS`, then the address of a program for every
worker); a *program* is a row of records of `RECORD_WORDS` words::

    address of a function, argument pointers, begin, end, number of the call
    BARRIER                          all workers of the job meet here
    CHECK                            the program ends here if the status word is not 0
    END

Three functions: ``run(control, job)`` runs it on all its workers, the caller being worker 0, or
alone if the pool is busy with another job; ``run_alone(control, job)`` runs its sequential program
on the caller; ``work(control, worker)`` is what a worker thread does for ever.

Waiting is a loop of three stages: pause instructions, so that what comes soon is seen at once;
then the rest of the time slice is given away, so that more threads than cores still go forward;
then sleep on a condition variable. Who waits says so in the count of sleepers *before* it looks at
the word a last time, and who changes the word looks at the count *after* it: both in sequentially
consistent order, so one of them sees the other.
"""

from __future__ import annotations

import time
from functools import cache

import llvmlite.binding as llvm

from graphnn.compiler.native.code import Code

__all__ = [
    "BARRIER",
    "CHECK",
    "CONTROL_WORDS",
    "END",
    "JOB_WORDS",
    "KEY",
    "LINE_WORDS",
    "MAX_WORKERS",
    "RECORD_WORDS",
    "generate",
]

KEY = "graphnn.compiler.native.spmd"

END, BARRIER, CHECK = 0, 1, 2
"""Records that are not calls, told by their first word."""
RECORD_WORDS = 5

JOB_WORDS = 8
"""n_workers, address of the status word, address of the sequential program, number of patches,
patches (pairs: address of an argument pointer, number of its slot), addresses of the slots,
addresses of times (0, or a row of nanoseconds per call for every worker), number of calls."""

LINE_WORDS = 16
"""Two cache lines, as processors fetch them: what different threads write is so far apart."""

MAX_WORKERS = 256

# A room is where threads sleep: a count of sleepers, a mutex and a condition variable (at most
# 64 bytes each on the systems we know; a line is 128).
_MUTEX, _CONDITION, _ROOM_WORDS = LINE_WORDS, 2 * LINE_WORDS, 3 * LINE_WORDS
# The control block, and for every worker a mailbox: number of the job, its address, a room.
_BUSY, _COUNT, _PHASE, _FINISHED, _ROOM = (LINE_WORDS * n for n in range(5))
_MAILBOXES = _ROOM + _ROOM_WORDS
_MAIL_JOB, _MAIL_ROOM = 1, LINE_WORDS
_MAILBOX_WORDS = _MAIL_ROOM + _ROOM_WORDS
CONTROL_WORDS = _MAILBOXES + MAX_WORKERS * _MAILBOX_WORDS

_PAUSES = 50
_YIELDS = 1000


def generate(name: str) -> Code:
    """The module: parts ``run``, ``run_alone``, ``work``, ``reset``."""
    functions = ("run", "run_alone", "work", "reset")
    text = "\n".join((_pause(), _WAITING, _CLOCK, _PROGRAM, _JOB))
    for function in functions:
        text = text.replace(f"@{function}(", f"@{name}_{function}(")
    return Code(text, tuple((f"{name}_{function}", 1) for function in functions))


@cache
def _pause() -> str:
    """An instruction that tells the core that it waits in a loop."""
    triple = llvm.get_process_triple()
    if triple.startswith(("x86_64", "i686")):
        return """
declare void @llvm.x86.sse2.pause()
define internal void @pause() alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}"""
    if triple.startswith(("aarch64", "arm64")):
        return """
declare void @llvm.aarch64.hint(i32)
define internal void @pause() alwaysinline {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}"""
    return """
define internal void @pause() alwaysinline {
  ret void
}"""


_WAITING = f"""
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
  call void @pause()
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
  %room = getelementptr i64, ptr %control, i64 {_ROOM}
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
  %busy = getelementptr i64, ptr %control, i64 {_BUSY}
  %count = getelementptr i64, ptr %control, i64 {_COUNT}
  %phase = getelementptr i64, ptr %control, i64 {_PHASE}
  %room = getelementptr i64, ptr %control, i64 {_ROOM}
  store i64 0, ptr %busy
  store i64 0, ptr %count
  store i64 0, ptr %phase
  call void @reset_room(ptr %room)
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %i.next, %each ]
  %box = call ptr @mailbox(ptr %control, i64 %i)
  store i64 0, ptr %box
  %box.room = getelementptr i64, ptr %box, i64 {_MAIL_ROOM}
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

_CLOCK = f"""
declare i32 @clock_gettime(i32, ptr)

define internal i64 @nanoseconds() nounwind {{
  %time = alloca [2 x i64], align 16
  %c = call i32 @clock_gettime(i32 {time.CLOCK_MONOTONIC}, ptr %time)
  %seconds = load i64, ptr %time
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at
  %scaled = mul i64 %seconds, 1000000000
  %all = add i64 %scaled, %rest
  ret i64 %all
}}
"""

_PROGRAM = f"""
; run the records of a program; times is null or a row of nanoseconds
define internal void @execute(ptr %control, ptr %job, ptr %program, ptr %times) nounwind {{
entry:
  %workers = load i64, ptr %job
  %status.at = getelementptr ptr, ptr %job, i64 1
  %status = load ptr, ptr %status.at
  %untimed = icmp eq ptr %times, null
  br label %next
next:
  %record = phi ptr [ %program, %entry ], [ %following, %advance ]
  %function = load ptr, ptr %record
  %word = ptrtoint ptr %function to i64
  switch i64 %word, label %call [ i64 {END}, label %out
    i64 {BARRIER}, label %meet
    i64 {CHECK}, label %check ]
meet:
  call void @barrier(ptr %control, i64 %workers)
  br label %advance
check:
  %error = load i64, ptr %status
  %fine = icmp eq i64 %error, 0
  br i1 %fine, label %advance, label %out
call:
  %arguments.at = getelementptr i64, ptr %record, i64 1
  %begin.at = getelementptr i64, ptr %record, i64 2
  %end.at = getelementptr i64, ptr %record, i64 3
  %arguments = load ptr, ptr %arguments.at
  %begin = load i64, ptr %begin.at
  %end = load i64, ptr %end.at
  br i1 %untimed, label %plain, label %timed
plain:
  call void %function(ptr %arguments, i64 %begin, i64 %end)
  br label %advance
timed:
  %before = call i64 @nanoseconds()
  call void %function(ptr %arguments, i64 %begin, i64 %end)
  %after = call i64 @nanoseconds()
  %taken = sub i64 %after, %before
  %number.at = getelementptr i64, ptr %record, i64 4
  %number = load i64, ptr %number.at
  %time.at = getelementptr i64, ptr %times, i64 %number
  store i64 %taken, ptr %time.at
  br label %advance
advance:
  %following = getelementptr i64, ptr %record, i64 {RECORD_WORDS}
  br label %next
out:
  ret void
}}

; the row of times of a worker, or null
define internal ptr @times_of(ptr %job, i64 %worker) nounwind {{
  %times.at = getelementptr i64, ptr %job, i64 6
  %times = load ptr, ptr %times.at
  %calls.at = getelementptr i64, ptr %job, i64 7
  %calls = load i64, ptr %calls.at
  %offset = mul i64 %calls, %worker
  %row = getelementptr i64, ptr %times, i64 %offset
  %none = icmp eq ptr %times, null
  %result = select i1 %none, ptr null, ptr %row
  ret ptr %result
}}

; a worker's share of a job
define internal void @share(ptr %control, ptr %job, i64 %worker) nounwind {{
  %at = add i64 %worker, {JOB_WORDS}
  %program.at = getelementptr i64, ptr %job, i64 %at
  %program = load ptr, ptr %program.at
  %times = call ptr @times_of(ptr %job, i64 %worker)
  call void @execute(ptr %control, ptr %job, ptr %program, ptr %times)
  ret void
}}
"""

_JOB = f"""
; write the addresses of the slots where the calls expect them
define internal void @patch(ptr %job) nounwind {{
entry:
  %number.at = getelementptr i64, ptr %job, i64 3
  %patches.at = getelementptr i64, ptr %job, i64 4
  %slots.at = getelementptr i64, ptr %job, i64 5
  %number = load i64, ptr %number.at
  %patches = load ptr, ptr %patches.at
  %slots = load ptr, ptr %slots.at
  br label %look
look:
  %i = phi i64 [ 0, %entry ], [ %i.next, %one ]
  %going = icmp ult i64 %i, %number
  br i1 %going, label %one, label %out
one:
  %twice = shl i64 %i, 1
  %where.at = getelementptr i64, ptr %patches, i64 %twice
  %where = load ptr, ptr %where.at
  %slot.at = getelementptr i64, ptr %where.at, i64 1
  %slot = load i64, ptr %slot.at
  %address.at = getelementptr i64, ptr %slots, i64 %slot
  %address = load i64, ptr %address.at
  store i64 %address, ptr %where
  %i.next = add i64 %i, 1
  br label %look
out:
  ret void
}}

define internal void @execute_alone(ptr %control, ptr %job) nounwind {{
  %program.at = getelementptr i64, ptr %job, i64 2
  %program = load ptr, ptr %program.at
  %times = call ptr @times_of(ptr %job, i64 0)
  call void @execute(ptr %control, ptr %job, ptr %program, ptr %times)
  ret void
}}

define internal i64 @status(ptr %job) nounwind {{
  %status.at = getelementptr ptr, ptr %job, i64 1
  %status = load ptr, ptr %status.at
  %result = load i64, ptr %status
  ret i64 %result
}}

define i64 @run_alone(ptr %control, ptr %job) nounwind {{
  call void @patch(ptr %job)
  call void @execute_alone(ptr %control, ptr %job)
  %result = call i64 @status(ptr %job)
  ret i64 %result
}}

define i64 @run(ptr %control, ptr %job) nounwind {{
entry:
  call void @patch(ptr %job)
  %busy = getelementptr i64, ptr %control, i64 {_BUSY}
  %taken = cmpxchg ptr %busy, i64 0, i64 1 acq_rel monotonic
  %mine = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %mine, label %start, label %alone
alone:
  call void @execute_alone(ptr %control, ptr %job)
  br label %out
start:
  %workers = load i64, ptr %job
  %others = sub i64 %workers, 1
  %finished = getelementptr i64, ptr %control, i64 {_FINISHED}
  store atomic i64 0, ptr %finished release, align 8
  br label %look
look:
  %i = phi i64 [ 1, %start ], [ %i.next, %post ]
  %more = icmp ult i64 %i, %workers
  br i1 %more, label %post, label %take_part
post:
  %box = call ptr @mailbox(ptr %control, i64 %i)
  %job.at = getelementptr i64, ptr %box, i64 {_MAIL_JOB}
  store ptr %job, ptr %job.at
  %sent = atomicrmw add ptr %box, i64 1 seq_cst
  %room = getelementptr i64, ptr %box, i64 {_MAIL_ROOM}
  call void @announce(ptr %room)
  %i.next = add i64 %i, 1
  br label %look
take_part:
  call void @share(ptr %control, ptr %job, i64 0)
  %end.room = getelementptr i64, ptr %control, i64 {_ROOM}
  call void @wait(ptr %finished, i64 %others, ptr %end.room)
  store atomic i64 0, ptr %busy release, align 8
  br label %out
out:
  %result = call i64 @status(ptr %job)
  ret i64 %result
}}

define void @work(ptr %control, i64 %worker) nounwind {{
entry:
  %box = call ptr @mailbox(ptr %control, i64 %worker)
  %job.at = getelementptr i64, ptr %box, i64 {_MAIL_JOB}
  %room = getelementptr i64, ptr %box, i64 {_MAIL_ROOM}
  %finished = getelementptr i64, ptr %control, i64 {_FINISHED}
  %end.room = getelementptr i64, ptr %control, i64 {_ROOM}
  br label %next
next:
  %number = phi i64 [ 1, %entry ], [ %following, %next ]
  call void @wait(ptr %box, i64 %number, ptr %room)
  %job = load ptr, ptr %job.at
  call void @share(ptr %control, ptr %job, i64 %worker)
  %done = atomicrmw add ptr %finished, i64 1 seq_cst
  call void @announce(ptr %end.room)
  %following = add i64 %number, 1
  br label %next
}}
"""
