/** Browsers cannot set headers, and so carry the API key in a subprotocol. */
const secretPrefix = 'openai-insecure-api-key.';

/** The key among the subprotocols that a client offers in `header`. */
export function keyOfSubprotocols(header: string | undefined): string | null {
  const offered = header?.split(',').map((protocol) => protocol.trim()) ?? [];
  return offered.find((protocol) => protocol.startsWith(secretPrefix))?.slice(secretPrefix.length) ?? null;
}

/** Answers with the first subprotocol that holds no secret, or with none. */
export function chooseSubprotocol(offered: Iterable<string>): string | false {
  for (const protocol of offered) {
    if (!protocol.startsWith(secretPrefix)) return protocol;
  }
  return false;
}
