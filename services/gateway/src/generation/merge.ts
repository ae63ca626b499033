/** The items of several streams as they come, each with the index of its stream. A stream is read on only after that. */
export async function* merge<T>(
  streams: readonly AsyncGenerator<T, void>[],
): AsyncGenerator<{ readonly index: number; readonly item: T }, void> {
  const take = async (index: number, stream: AsyncGenerator<T, void>) => ({
    index,
    stream,
    result: await stream.next(),
  });
  const pending = new Map(streams.map((stream, index) => [index, take(index, stream)]));
  try {
    while (pending.size > 0) {
      const { index, stream, result } = await Promise.race(pending.values());
      pending.delete(index);
      if (result.done) continue;
      yield { index, item: result.value };
      pending.set(index, take(index, stream));
    }
  } finally {
    // Not awaited: a stream that waits for its next item ends only when its signal says so.
    for (const stream of streams) stream.return().catch(() => {});
  }
}
