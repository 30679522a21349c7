// The official TypeScript client, which starts a stdio server and talks with it; its key comes by the environment.
//   node stdio.js COMMAND ARGUMENT...
// Prints what it heard as one JSON object.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { CallToolResultSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const [command, ...args] = process.argv.slice(2);
const env = { PATH: process.env.PATH, GATEHOUSE_KEY: process.env.GATEHOUSE_KEY };
const heard = { progress: [], asked: [] };
const client = new Client({ name: "typescript-sdk", version: "1" }, { capabilities: { elicitation: { form: {} } } });
client.setRequestHandler(ElicitRequestSchema, (request) => {
  heard.asked.push(request.params.message);
  return { action: "accept", content: { username: "ana", email: "ana@example.com" } };
});

const transport = new StdioClientTransport({ command, args, env, stderr: "inherit" });
await client.connect(transport);
heard.tools = (await client.listTools()).tools.map((tool) => tool.name);
const onprogress = ({ progress }) => heard.progress.push(progress);
await client.callTool({ name: "test_tool_with_progress", arguments: {} }, CallToolResultSchema, { onprogress });
const filled = await client.callTool({ name: "test_elicitation", arguments: { message: "Who are you?" } });
heard.form = filled.content[0].text;
const process_ = transport._process;
const ended = new Promise((resolve) => process_.once("exit", resolve));
await client.close();
heard.exit = await ended;
console.log(JSON.stringify(heard));
