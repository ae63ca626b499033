import { RequestError } from '@baton/errors';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { chatRequest } from './chat-request.ts';
import { completionRequest } from './completion-request.ts';
import { parseRequest } from './parse-request.ts';
import { responseCreateFrame, responseRequest } from './response-request.ts';

const chat = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };
const text = { model: 'm', prompt: 'hi' };
const response = { model: 'm', input: 'hi' };

function refusal(schema: z.ZodType, body: unknown): { code: string; param: string | null } {
  try {
    parseRequest(schema, body);
  } catch (error) {
    if (error instanceof RequestError) return { code: error.code, param: error.param };
    throw error;
  }
  return { code: 'accepted', param: null };
}

describe('chat request', () => {
  it.each<[string, unknown, string, string | null]>([
    ['no object', [], 'invalid_type', null],
    ['no messages', { model: 'm' }, 'missing_required_parameter', 'messages'],
    ['an empty conversation', { ...chat, messages: [] }, 'invalid_value', 'messages'],
    [
      'more messages than it looks at',
      { ...chat, messages: Array(5000).fill({ role: 'user' }) },
      'invalid_value',
      'messages',
    ],
    [
      'more parts of a text than it looks at',
      { ...chat, messages: [{ role: 'user', content: Array(5000).fill({}) }] },
      'invalid_value',
      'messages[0].content',
    ],
    ['an unknown key', { ...chat, colour: 'red' }, 'unknown_parameter', 'colour'],
    ['a wrong type', { ...chat, temperature: 'hot' }, 'invalid_type', 'temperature'],
    ['a value out of range', { ...chat, temperature: 3 }, 'invalid_value', 'temperature'],
    ['a fraction', { ...chat, n: 1.5 }, 'invalid_type', 'n'],
    [
      'a tool without a function',
      { ...chat, tools: [{ type: 'function' }] },
      'missing_required_parameter',
      'tools[0].function',
    ],
    [
      'a tool of another kind',
      { ...chat, tools: [{ type: 'custom' }] },
      'unsupported_value',
      'tools[0].type',
    ],
    [
      'a tool nobody could call',
      { ...chat, tools: [{ type: 'function', function: { name: 'a b' } }] },
      'invalid_value',
      'tools[0].function.name',
    ],
    [
      'a choice of a built-in tool',
      { ...chat, tool_choice: { type: 'custom', custom: { name: 'x' } } },
      'unsupported_value',
      'tool_choice.type',
    ],
    ['a choice that is none', { ...chat, tool_choice: 'maybe' }, 'invalid_value', 'tool_choice'],
    [
      'a format nobody knows',
      { ...chat, response_format: { type: 'xml' } },
      'unsupported_value',
      'response_format.type',
    ],
    [
      'a schema without a name',
      { ...chat, response_format: { type: 'json_schema', json_schema: { schema: {} } } },
      'missing_required_parameter',
      'response_format.json_schema.name',
    ],
    ['alternatives alone', { ...chat, top_logprobs: 2 }, 'invalid_value', 'top_logprobs'],
    ['stream options alone', { ...chat, stream_options: {} }, 'invalid_value', 'stream_options'],
    ['an empty stop', { ...chat, stop: [''] }, 'invalid_value', 'stop[0]'],
    ['a word as logit_bias key', { ...chat, logit_bias: { the: 1 } }, 'invalid_value', 'logit_bias.the'],
    [
      'a role nobody knows',
      { ...chat, messages: [{ role: 'king', content: '' }] },
      'invalid_value',
      'messages[0].role',
    ],
    [
      'a result of no call',
      { ...chat, messages: [{ role: 'tool', content: '' }] },
      'missing_required_parameter',
      'messages[0].tool_call_id',
    ],
    [
      'the older form of a result',
      { ...chat, messages: [{ role: 'function', content: '' }] },
      'unsupported_value',
      'messages[0].role',
    ],
    [
      'an answer that says and calls nothing',
      { ...chat, messages: [{ role: 'assistant', content: null }] },
      'missing_required_parameter',
      'messages[0].content',
    ],
    [
      'no content',
      { ...chat, messages: [{ role: 'user' }] },
      'missing_required_parameter',
      'messages[0].content',
    ],
    [
      'an image',
      { ...chat, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] },
      'unsupported_value',
      'messages[0].content[0].type',
    ],
    [
      'a key in a message',
      { ...chat, messages: [{ role: 'user', content: 'hi', mood: 1 }] },
      'unknown_parameter',
      'messages[0].mood',
    ],
  ])('refuses %s', (_, body, code, param) => {
    expect(refusal(chatRequest, body)).toEqual({ code, param });
  });

  it('accepts what asks for nothing, and null for what is left out', () => {
    const body = {
      ...chat,
      n: 1,
      tools: [],
      tool_choice: 'auto',
      response_format: { type: 'text' },
      logit_bias: null,
      stop: null,
      seed: null,
      metadata: {},
      stream: null,
      store: false,
      modalities: ['text'],
    };
    expect(refusal(chatRequest, body).code).toBe('accepted');
  });

  it("takes a client's history back, and parts as one text", () => {
    const messages = [
      {
        role: 'developer',
        content: [
          { type: 'text', text: 'Be ' },
          { type: 'text', text: 'brief.' },
        ],
      },
      { role: 'assistant', content: 'Yes.', refusal: null, annotations: [] },
    ];
    expect(parseRequest(chatRequest, { ...chat, messages }).messages).toMatchObject([
      { role: 'developer', content: 'Be brief.' },
      { role: 'assistant', content: 'Yes.' },
    ]);
  });
});

describe('completion request', () => {
  it.each<[string, unknown, string, string | null]>([
    ['no prompt', { model: 'm' }, 'missing_required_parameter', 'prompt'],
    ['an empty list', { ...text, prompt: [] }, 'invalid_value', 'prompt'],
    ['a negative token', { ...text, prompt: [1, -1] }, 'invalid_value', 'prompt[1]'],
    ['a mixed list', { ...text, prompt: ['a', 1] }, 'invalid_type', 'prompt[1]'],
    ['a negative limit', { ...text, max_tokens: -1 }, 'invalid_value', 'max_tokens'],
    ['logprobs as a flag', { ...text, logprobs: true }, 'invalid_type', 'logprobs'],
    ['a choice of the best', { ...text, n: 1, best_of: 3 }, 'unsupported_value', 'best_of'],
    ['a suffix', { ...text, suffix: 'end' }, 'unsupported_value', 'suffix'],
  ])('refuses %s', (_, body, code, param) => {
    expect(refusal(completionRequest, body)).toEqual({ code, param });
  });

  it.each([
    ['text', 'a', ['a']],
    ['texts', ['a', 'b'], ['a', 'b']],
    ['token ids', [1, 2], [[1, 2]]],
    ['lists of token ids', [[1, 2], [3]], [[1, 2], [3]]],
  ])('takes %s as prompts', (_, prompt, prompts) => {
    expect(parseRequest(completionRequest, { ...text, prompt }).prompt).toEqual(prompts);
  });
});

describe('response request', () => {
  it.each<[string, unknown, string, string | null]>([
    ['no input', { model: 'm' }, 'missing_required_parameter', 'input'],
    ['a number as input', { ...response, input: 7 }, 'invalid_type', 'input'],
    ['an unknown key', { ...response, colour: 'red' }, 'unknown_parameter', 'colour'],
    ['a chain of numbers', { ...response, previous_response_id: 7 }, 'invalid_type', 'previous_response_id'],
    [
      'a conversation that nothing is added to',
      { ...response, conversation: 'conv_1', store: false },
      'invalid_value',
      'conversation',
    ],
    [
      'a conversation and another turn',
      { ...response, conversation: { id: 'conv_1' }, previous_response_id: 'resp_1' },
      'invalid_value',
      'conversation',
    ],
    [
      'a built-in tool',
      { ...response, tools: [{ type: 'web_search' }] },
      'unsupported_value',
      'tools[0].type',
    ],
    [
      'no JSON schema',
      { ...response, text: { format: { type: 'json_schema', name: 'a' } } },
      'missing_required_parameter',
      'text.format.schema',
    ],
    ['reasoning', { ...response, reasoning: { effort: 'high' } }, 'unsupported_value', 'reasoning.effort'],
    ['truncation', { ...response, truncation: 'auto' }, 'unsupported_value', 'truncation'],
    [
      'an unreadable background',
      { ...response, background: true, store: false },
      'invalid_value',
      'background',
    ],
    ['an inclusion nobody knows', { ...response, include: ['tea'] }, 'invalid_value', 'include[0]'],
    [
      'an item of another kind',
      { ...response, input: [{ type: 'computer_call_output', output: '' }] },
      'unsupported_value',
      'input[0].type',
    ],
    [
      'an image',
      { ...response, input: [{ role: 'user', content: [{ type: 'input_image' }] }] },
      'unsupported_value',
      'input[0].content[0].type',
    ],
    [
      'a key in an item',
      { ...response, input: [{ role: 'user', content: 'hi', mood: 1 }] },
      'unknown_parameter',
      'input[0].mood',
    ],
  ])('refuses %s', (_, body, code, param) => {
    expect(refusal(responseRequest, body)).toEqual({ code, param });
  });

  it('looks at no item where there are too many', () => {
    const input = Array(5000).fill({ role: 'user' });
    expect(refusal(responseRequest, { ...response, input })).toEqual({
      code: 'invalid_value',
      param: 'input',
    });
    expect(refusal(responseRequest, { ...response, input: [] })).toEqual({
      code: 'invalid_value',
      param: 'input',
    });
  });

  it('takes messages with and without a type, and references', () => {
    const input = [
      { role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
      {
        type: 'message',
        role: 'assistant',
        id: 'msg_1',
        content: [{ type: 'output_text', text: 'yes', annotations: [] }],
      },
      { type: 'item_reference', id: 'msg_2' },
      { id: 'msg_3' },
    ];
    expect(parseRequest(responseRequest, { ...response, input }).input).toEqual([
      { type: 'message', role: 'user', content: 'hi' },
      { type: 'message', role: 'assistant', content: 'yes' },
      { type: 'item_reference', id: 'msg_2' },
      { type: 'item_reference', id: 'msg_3' },
    ]);
  });

  it('accepts what asks for nothing', () => {
    const body = {
      ...response,
      text: {},
      include: [],
      tools: [],
      tool_choice: 'auto',
      reasoning: {},
      truncation: 'disabled',
      previous_response_id: null,
      background: false,
    };
    expect(refusal(responseRequest, body).code).toBe('accepted');
  });

  it('has no background on a socket', () => {
    const frame = { ...response, type: 'response.create', background: true };
    expect(refusal(responseCreateFrame, frame)).toEqual({
      code: 'unsupported_parameter',
      param: 'background',
    });
  });
});
