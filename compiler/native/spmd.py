"""Native code that runs jobs: one program that several workers run together (SPMD).

Words are int64. A *job* is a row of words (`JOB_WORDS`, then the address of a program for every
worker); a *program* is a row of records of `RECORD_WORDS` words::

    address of a function, argument pointers, begin, end, number of the call
    BARRIER                          all workers of the job meet here
    CHECK                            the program ends here if the status word is not 0
    MOVE, address, bytes             an argument pointer moves
    REPEAT, counter, count, words    so many words back, until the counter says that it is done
    SKIP, address, when, words       so many words forwards, if the byte that the pointer at the
                                     address points to is 0 and when is 1, or the other way round
    END

Three functions: ``run(control, job)`` runs it on all its workers, the caller being worker 0, or
alone if the pool is busy with another job; ``run_alone(control, job)`` runs its sequential program
on the caller; ``work(control, worker)`` is what a worker thread does for ever.
"""

from __future__ import annotations

import time

from graphnn.compiler.native.code import Code
from graphnn.compiler.native.waiting import BUSY, FINISHED, MAIL_JOB, MAIL_ROOM, ROOM, WAITING

__all__ = [
    "BARRIER",
    "CHECK",
    "END",
    "JOB_WORDS",
    "KEY",
    "MOVE",
    "RECORD_WORDS",
    "REPEAT",
    "SKIP",
    "generate",
]

KEY = "graphnn.compiler.native.spmd"

END, BARRIER, CHECK, MOVE, REPEAT, SKIP = range(6)
"""Records that are not calls, told by their first word."""
RECORD_WORDS = 5

JOB_WORDS = 8
"""n_workers, address of the status word, address of the sequential program, number of patches,
patches (pairs: address of an argument pointer, number of its slot), addresses of the slots,
addresses of times (0, or a row of nanoseconds per call for every worker), number of calls."""


def generate(name: str) -> Code:
    """The module: parts ``run``, ``run_alone``, ``work``, ``reset``."""
    functions = ("run", "run_alone", "work", "reset")
    text = "\n".join((WAITING, _CLOCK, _PROGRAM, _JOB))
    for function in functions:
        text = text.replace(f"@{function}(", f"@{name}_{function}(")
    return Code(text, tuple((f"{name}_{function}", 1) for function in functions))


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
  %record = phi ptr [ %program, %entry ], [ %following, %advance ], [ %back, %again ],
                    [ %there, %jump ]
  %function = load ptr, ptr %record
  %word = ptrtoint ptr %function to i64
  switch i64 %word, label %call [ i64 {END}, label %out
    i64 {BARRIER}, label %meet
    i64 {CHECK}, label %check
    i64 {MOVE}, label %move
    i64 {REPEAT}, label %repeat
    i64 {SKIP}, label %skip ]
meet:
  call void @barrier(ptr %control, i64 %workers)
  br label %advance
check:
  %error = load i64, ptr %status
  %fine = icmp eq i64 %error, 0
  br i1 %fine, label %advance, label %out
move:
  %moved.at = getelementptr i64, ptr %record, i64 1
  %by.at = getelementptr i64, ptr %record, i64 2
  %moved = load ptr, ptr %moved.at
  %by = load i64, ptr %by.at
  %old = load i64, ptr %moved
  %new = add i64 %old, %by
  store i64 %new, ptr %moved
  br label %advance
repeat:
  %counter.at = getelementptr i64, ptr %record, i64 1
  %count.at = getelementptr i64, ptr %record, i64 2
  %counter = load ptr, ptr %counter.at
  %count = load i64, ptr %count.at
  %rounds = load i64, ptr %counter
  %done = add i64 %rounds, 1
  %going = icmp ult i64 %done, %count
  %kept = select i1 %going, i64 %done, i64 0
  store i64 %kept, ptr %counter
  br i1 %going, label %again, label %advance
skip:
  %flag.at = getelementptr i64, ptr %record, i64 1
  %when.at = getelementptr i64, ptr %record, i64 2
  %pointer = load ptr, ptr %flag.at
  %flag = load ptr, ptr %pointer
  %byte = load i8, ptr %flag
  %when = load i64, ptr %when.at
  %set = icmp ne i8 %byte, 0
  %wanted = icmp ne i64 %when, 0
  %entered = icmp eq i1 %set, %wanted
  br i1 %entered, label %advance, label %jump
jump:
  %over.at = getelementptr i64, ptr %record, i64 3
  %over = load i64, ptr %over.at
  %there = getelementptr i64, ptr %record, i64 %over
  br label %next
again:
  %words.at = getelementptr i64, ptr %record, i64 3
  %words = load i64, ptr %words.at
  %backwards = sub i64 0, %words
  %back = getelementptr i64, ptr %record, i64 %backwards
  br label %next
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
  %earlier = load i64, ptr %time.at
  %together = add i64 %earlier, %taken
  store i64 %together, ptr %time.at
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
  %busy = getelementptr i64, ptr %control, i64 {BUSY}
  %taken = cmpxchg ptr %busy, i64 0, i64 1 acq_rel monotonic
  %mine = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %mine, label %start, label %alone
alone:
  call void @execute_alone(ptr %control, ptr %job)
  br label %out
start:
  %workers = load i64, ptr %job
  %others = sub i64 %workers, 1
  %finished = getelementptr i64, ptr %control, i64 {FINISHED}
  store atomic i64 0, ptr %finished release, align 8
  br label %look
look:
  %i = phi i64 [ 1, %start ], [ %i.next, %post ]
  %more = icmp ult i64 %i, %workers
  br i1 %more, label %post, label %take_part
post:
  %box = call ptr @mailbox(ptr %control, i64 %i)
  %job.at = getelementptr i64, ptr %box, i64 {MAIL_JOB}
  store ptr %job, ptr %job.at
  %sent = atomicrmw add ptr %box, i64 1 seq_cst
  %room = getelementptr i64, ptr %box, i64 {MAIL_ROOM}
  call void @announce(ptr %room)
  %i.next = add i64 %i, 1
  br label %look
take_part:
  call void @share(ptr %control, ptr %job, i64 0)
  %end.room = getelementptr i64, ptr %control, i64 {ROOM}
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
  %job.at = getelementptr i64, ptr %box, i64 {MAIL_JOB}
  %room = getelementptr i64, ptr %box, i64 {MAIL_ROOM}
  %finished = getelementptr i64, ptr %control, i64 {FINISHED}
  %end.room = getelementptr i64, ptr %control, i64 {ROOM}
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
