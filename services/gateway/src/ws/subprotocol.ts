/** Browsers cannot set headers, and so carry the API key in a subprotocol. */
const secretPrefix = 'openai-insecure-api-key.';

/** Answers with the first subprotocol that holds no secret, or with none. */
export function chooseSubprotocol(offered: Iterable<string>): string | false {
  for (const protocol of offered) {
    if (!protocol.startsWith(secretPrefix)) return protocol;
  }
  return false;
}
