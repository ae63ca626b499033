import type { LogState, Usage } from '@baton/protocol';

export interface CompletionUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: 0 };
}

/**
 * Usage of a request's generations: choices come in runs of `choicesPerPrompt`, and a prompt counts once however many
 * choices share it.
 */
export function completionUsage(states: readonly LogState[], choicesPerPrompt: number): CompletionUsage {
  let prompt = 0;
  let cached = 0;
  let completion = 0;
  for (const [index, state] of states.entries()) {
    const usage = usageOf(state);
    if (!usage) continue;
    completion += usage.completion_tokens;
    if (index % choicesPerPrompt === 0) {
      prompt += usage.prompt_tokens;
      cached += usage.cached_tokens;
    }
  }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: 0 },
  };
}

/** A generation's usage, once it has finished. */
export function usageOf(state: LogState): Usage | null {
  return state.terminal?.kind === 'finish' ? state.terminal.usage : null;
}
