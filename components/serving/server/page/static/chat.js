// The chat page: sends the conversation to the OpenAI-compatible API beside it, and shows the answer as it comes.
"use strict";

const element = (id) => document.getElementById(id);
const log = element("log");
const emptyNote = element("empty");
const hint = element("status").textContent;

let conversation = []; // what the model is told again with each question
let running = null; // AbortController of the answer that is being written

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = element("question").value.trim();
  if (question && !running) ask(question);
});

element("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element("composer").requestSubmit();
  }
});

// A field that is wrong can't be shown while the settings are closed.
element("composer").addEventListener("invalid", () => (element("settings").open = true), true);

element("stop").addEventListener("click", () => running.abort());

element("new").addEventListener("click", () => {
  running?.abort();
  conversation = [];
  log.replaceChildren(emptyNote);
  setStatus(hint);
  element("question").focus();
});

async function ask(question) {
  const mine = conversation;
  emptyNote.remove();
  addTurn("question", "You").textContent = question;
  const answer = addTurn("answer", "Meditron");
  const turn = answer.parentElement;
  element("question").value = "";
  setRunning(new AbortController());
  setStatus("Answering…");
  turn.setAttribute("aria-busy", "true");
  let outcome = hint;
  let failure = null;
  try {
    const reason = await stream([...mine, { role: "user", content: question }], answer);
    if (reason === "length") outcome = "The answer was cut: it reached its longest length.";
  } catch (error) {
    if (error.name === "AbortError") outcome = "Stopped.";
    else failure = error;
  }
  turn.removeAttribute("aria-busy");
  setRunning(null);
  if (mine !== conversation) return; // meanwhile a new one began
  const said = answer.textContent.trim();
  if (failure) {
    outcome = "That failed; your question is back in its field.";
    addError(turn, failure.message);
    element("question").value ||= question;
  } else if (said) {
    mine.push({ role: "user", content: question }, { role: "assistant", content: said });
  }
  setStatus(outcome);
  element("question").focus();
}

// Write the answer into `target` as it comes; return why it ended.
async function stream(messages, target) {
  const system = element("system").value.trim();
  const headers = { "Content-Type": "application/json" };
  if (element("key").value) headers.Authorization = `Bearer ${element("key").value}`;
  let response;
  try {
    response = await fetch("v1/chat/completions", {
      method: "POST",
      headers,
      signal: running.signal,
      body: JSON.stringify({
        model: document.body.dataset.model,
        messages: system ? [{ role: "system", content: system }, ...messages] : messages,
        temperature: element("temperature").valueAsNumber,
        max_tokens: element("max-tokens").valueAsNumber,
        stream: true,
      }),
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error("The server can't be reached.");
  }
  if (response.status === 401) askForKey();
  if (!response.ok) throw new Error(explanation(await response.text(), response.status));
  let reason = null;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") break;
    const event = parsed(data);
    if (!event?.choices) throw new Error(explanation(data, response.status));
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    target.append(event.choices[0]?.delta?.content ?? "");
    if (atEnd) log.scrollTop = log.scrollHeight;
    reason = event.choices[0]?.finish_reason ?? reason;
  }
  if (reason === null) throw new Error("The server ended before the answer did.");
  return reason;
}

// The data of each server-sent event.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

// What a server says is wrong: vLLM's and OpenAI's form, FastAPI's, or plain text.
function explanation(text, status) {
  const body = parsed(text);
  const message = body?.error?.message ?? body?.error ?? body?.detail ?? text;
  const said = typeof message === "string" ? message : JSON.stringify(message);
  return said || `The server answered with status ${status}.`;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function addTurn(kind, speaker) {
  const turn = document.createElement("article");
  turn.className = kind;
  const name = document.createElement("h2");
  name.textContent = speaker;
  const text = document.createElement("p");
  turn.append(name, text);
  log.append(turn);
  log.scrollTop = log.scrollHeight;
  return text;
}

function addError(turn, message) {
  const error = document.createElement("p");
  error.className = "error";
  error.setAttribute("role", "alert");
  error.textContent = message;
  turn.append(error);
  log.scrollTop = log.scrollHeight;
}

function askForKey() {
  element("key-field").hidden = false;
  element("settings").open = true;
}

function setRunning(controller) {
  running = controller;
  element("send").hidden = controller !== null;
  element("stop").hidden = controller === null;
}

function setStatus(text) {
  element("status").textContent = text;
}
