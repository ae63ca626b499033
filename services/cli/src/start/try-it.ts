/** Commands that show the system at work, each one line to be pasted into a shell in the project's folder. */
export function tryIt(baseUrl: string, model: string): readonly string[] {
  const story = (topic: string) => `Tell me a story about a ${topic}.`;
  const chat = { model, stream: true, messages: [{ role: 'user', content: story('boat') }] };
  const create = { type: 'response.create', model, input: story('dog') };
  // Any Node that can run `npm start` can run these, so no WebSocket of its own is expected of it.
  const webSocketClient = [
    'import WebSocket from "ws"',
    `const socket = new WebSocket("${baseUrl.replace(/^http/, 'ws')}/v1/responses")`,
    `socket.on("open", () => socket.send(JSON.stringify(${JSON.stringify(create)})))`,
    'socket.on("message", (data) => { const event = JSON.parse(data)',
    'if (event.type === "response.output_text.delta") process.stdout.write(event.delta)',
    'if (/completed|incomplete|failed|error/.test(event.type)) socket.close() })',
  ];
  const openaiClient = [
    'import OpenAI from "openai"',
    `const client = new OpenAI({ baseURL: "${baseUrl}/v1", apiKey: "none" })`,
    `const events = await client.responses.create(${JSON.stringify({ model, stream: true, input: story('tree') })})`,
    'for await (const event of events) if (event.type === "response.output_text.delta") process.stdout.write(event.delta)',
  ];
  const node = (lines: readonly string[]) => `node --input-type=module -e ${shellQuoted(lines.join('; '))}`;
  const curl = `curl -N ${baseUrl}/v1/chat/completions -H 'content-type: application/json' -d ${shellQuoted(JSON.stringify(chat))}`;
  return [curl, node(webSocketClient), node(openaiClient)];
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
