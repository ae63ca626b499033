import { expect, it } from 'vitest';
import { callingMessage } from './messages.ts';

it('writes arguments as the object that they are, and as text where they are none or too deep', () => {
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  const calls = ['{"a": 1}', 'a', deep].map((args) => ({ call_id: 'c', name: 'f', arguments: args }));
  const format = { open: '<call>', close: '</call>', writesCalls: false };
  expect(callingMessage('', calls, format).content.split('\n')).toEqual([
    '<call> {"name":"f","arguments":{"a":1}} </call>',
    '<call> {"name":"f","arguments":"a"} </call>',
    `<call> {"name":"f","arguments":"${deep}"} </call>`,
  ]);
});
