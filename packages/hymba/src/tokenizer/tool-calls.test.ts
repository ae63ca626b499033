import { RequestError } from '@baton/errors';
import { Template } from '@huggingface/jinja';
import { describe, expect, it } from 'vitest';
import type { RenderChat } from './chat-template.ts';
import { toolCallFormat } from './tool-calls.ts';

function renderer(source: string): RenderChat {
  const template = new Template(source);
  return (messages, { tools } = {}) => {
    try {
      return template.render({ messages, tools, add_generation_prompt: true });
    } catch (error) {
      throw new RequestError('invalid_value', String(error), 'messages');
    }
  };
}

const turns = `{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}`;
const tools = `{% for t in tools %}<tool> {{ t | tojson }} </tool>{% endfor %}`;
const hermesCalls = `{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% if m['tool_calls'] %}{% for c in m['tool_calls'] %}
<tool_call>
{{ c['function'] | tojson }}
</tool_call>{% endfor %}{% endif %}
{% endfor %}`;

describe('toolCallFormat', () => {
  it.each<[string, string, ReturnType<typeof toolCallFormat>]>([
    ['a template without tools', turns, null],
    ['tools without a turn for their results', `${tools}{{ messages[0]['content'] }}`, null],
    [
      'tools that refuse a result',
      `${tools}{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}`,
      null,
    ],
    ['the released form', tools + turns, { open: '<toolcall>', close: '</toolcall>', writesCalls: false }],
    [
      'a template that writes calls itself',
      tools + hermesCalls,
      { open: '<tool_call>', close: '</tool_call>', writesCalls: true },
    ],
  ])('knows %s', (_, source, format) => {
    expect(toolCallFormat(renderer(source))).toEqual(format);
  });
});
