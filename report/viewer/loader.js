// Starts the viewer, which the page holds compressed. The page's policy admits this script and the
// viewer's text by their hashes.

async function load() {
  const packed = atob(document.getElementById("viewer").textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.body.append(script);
}

if (typeof DecompressionStream === "undefined") {
  const sentence = document.createElement("p");
  sentence.textContent =
    "This browser cannot show the figures; one from 2023 or later can. The summary is below.";
  document.body.prepend(sentence);
} else {
  load();
}
