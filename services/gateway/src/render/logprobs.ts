import type { Tokenizer } from '@baton/hymba/tokenizer';
import type { TokenLogprob } from '@baton/protocol';

/** What rendering needs of the tokenizer. */
export type TokenNames = Pick<Tokenizer, 'tokenText' | 'tokenBytes' | 'isSpecial' | 'stripsLeadingSpace'>;

/** A token by name, as chat completions and responses show it. `bytes` tells parts of one character apart. */
interface NamedLogprob {
  readonly token: string;
  readonly bytes: number[];
  readonly logprob: number | null;
}

export interface RenderedLogprob extends NamedLogprob {
  readonly top_logprobs: NamedLogprob[];
}

export function renderLogprob(entry: TokenLogprob, names: TokenNames): RenderedLogprob {
  return {
    ...named(entry.token, entry.logprob, names),
    top_logprobs: entry.top.map(([token, logprob]) => named(token, logprob, names)),
  };
}

function named(token: number, logprob: number | null, names: TokenNames): NamedLogprob {
  return { token: names.tokenText(token), bytes: [...names.tokenBytes(token)], logprob };
}
