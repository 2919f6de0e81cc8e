import os


def get_num_threads():
    return len(os.sched_getaffinity(0))
