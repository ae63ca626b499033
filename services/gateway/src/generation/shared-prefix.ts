import type { ChatMessage } from '@baton/hymba/tokenizer';
import type { GenerationJob } from '@baton/protocol';
import type { ToolDefinition } from '../api/tools.ts';
import type { TenantGateway } from '../gateway.ts';
import { templateTools } from './prompt.ts';

/** Fewer tokens are prefilled as fast as their state is fetched. */
const fewest = 64;

/**
 * How many tokens `prompt` begins with that are of the system's messages and tools, and so may begin many conversations: what
 * the chat template writes in front of any user's first word. Left out where they are few.
 */
export async function sharedPrefix(
  { model: { tokenizer }, tenant, tokenisation }: TenantGateway,
  prompt: readonly number[],
  messages: readonly ChatMessage[],
  tools: readonly ToolDefinition[],
): Promise<Pick<GenerationJob, 'shared_prefix'>> {
  const others = messages.findIndex(({ role }) => role !== 'system');
  const system = others < 0 ? messages : messages.slice(0, others);
  if (system.length + tools.length === 0) return {};
  const [one, other] = ['a', '0'].map((content) =>
    tokenizer.renderChat([...system, { role: 'user', content }], { tools: templateTools(tools) }),
  ) as [string, string];
  const text = one.slice(0, commonLength(one, other));
  // The last of these tokens may be another in the prompt, where it reaches into what the user says.
  const [tokens = []] = await tokenisation.encode(tenant, [text], { addSpecialTokens: false });
  const shared = commonLength(tokens, prompt);
  return shared < fewest ? {} : { shared_prefix: shared };
}

/** How many elements two sequences have in common before they differ. */
function commonLength<T>(a: ArrayLike<T>, b: ArrayLike<T>): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}
