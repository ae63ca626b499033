import type { FinishReason } from '@baton/protocol';

/** Of chat and text completions, whose API has no word for a generation that was cancelled: it stopped. */
export function finishReason(reason: FinishReason): 'stop' | 'length' {
  return reason === 'length' ? 'length' : 'stop';
}
