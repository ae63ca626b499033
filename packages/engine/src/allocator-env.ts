/**
 * Environment of a process that runs an engine. A run's binding copies every output into new memory, at batch 8 of a 1.5B
 * some 60 MB a step. By default glibc gives that back to the system each time and gets it again, page by page; so it keeps it.
 * One arena, since the heap of a thread's own has no room for so much. Other allocators do not know these variables.
 */
export const allocatorEnv = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: String(2 ** 25),
  MALLOC_TRIM_THRESHOLD_: String(2 ** 30),
} as const;
