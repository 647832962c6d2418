// What Chainlit's page leaves out: the system's theme, names for buttons that are pictures, landmarks, a voice for answers.
(() => {
  const server = document.currentScript.src.replace(/\/public\/[^/]*$/, "")
  const all = (selector) => [...document.querySelectorAll(selector)]

  // The theme is the system's until the user chooses another; Chainlit keeps it under this key, and knows "system".
  const THEME = "vite-ui-theme"
  if (!localStorage.getItem(THEME)) localStorage.setItem(THEME, "system")
  const dark = window.matchMedia("(prefers-color-scheme: dark)")
  dark.addEventListener("change", () => {
    if (localStorage.getItem(THEME) !== "system") return
    const theme = dark.matches ? "dark" : "light"
    document.documentElement.classList.remove("dark", "light")
    document.documentElement.classList.add(theme)
    Object.entries(window.theme[theme]).forEach(([name, value]) => document.documentElement.style.setProperty(name, value))
  })

  // Another language: the server sends the settings, the page that is loaded next brings them back.
  window.addEventListener("message", (event) => {
    if (event.source !== window || event.origin !== window.location.origin) return
    const settings = event.data && event.data.toolkitSettings
    if (!settings || (settings.language !== "zh" && settings.language !== "en")) return
    document.cookie = `toolkit-language=${settings.language}; path=/; max-age=31536000; samesite=lax`
    document.cookie = `toolkit-settings=${encodeURIComponent(JSON.stringify(settings))}; path=/; max-age=60; samesite=lax`
    window.location.reload()
  })

  const COPY = "[data-step-type=assistant_message] button:has(> .lucide-copy)"
  const ARROW = "button:has(> .lucide-arrow-down)"
  const NAMES = {
    "#new-chat-button": "navigation.newChat.button",
    "#upload-button, #upload-button-loading": "chat.input.actions.attachFiles",
    "#chat-settings-open-modal": "navigation.user.menu.settings",
    "#chat-submit": "chat.input.actions.send",
    "#stop-button": "chat.input.actions.stop",
    "#chat-input": "chat.input.placeholder",
    "#attachments button": "chat.fileUpload.actions.removeAttachment",
    "#theme-toggle": "toolkit.theme",
    "#user-nav-button": "toolkit.account",
    "#header": "toolkit.menu",
    "[data-panel-group]": "toolkit.answers",
    "[role=dialog] > button:has(.lucide-x)": "toolkit.close",
    "section[aria-live]": "toolkit.notifications",
    "button:has(> .lucide-eye), button:has(> .lucide-eye-off)": "toolkit.password",
    [COPY]: "chat.messages.actions.copy.button",
    [ARROW]: "toolkit.scroll",
  }
  const ROLES = {
    "#header": "navigation",
    "[data-panel-group]": "region",
    "#root > .min-h-svh": "main", // of the page to sign in; the other has one
    "#upload-button, #upload-button-loading": "button",
    "[data-sonner-toaster]": "presentation",
  }

  const name = (words) => {
    for (const [selector, path] of Object.entries(NAMES)) {
      const word = path.split(".").reduce((node, key) => node[key], words)
      all(selector).forEach((node) => node.setAttribute("aria-label", word))
    }
    for (const [selector, role] of Object.entries(ROLES)) all(selector).forEach((node) => node.setAttribute("role", role))
    all("img.logo").forEach((image) => (image.alt = document.title))
    all("[data-step-type] img[alt^='Avatar for']").forEach((image) => (image.alt = ""))
    all("[role=slider]:not([aria-label])").forEach((slider) => {
      const label = document.querySelector(`label[for="${slider.closest("[id]").id}"]`)
      if (label) slider.setAttribute("aria-label", label.firstChild.textContent)
    })
    all("[data-step-type=user_message] .rounded-3xl").forEach((bubble) => {
      if (bubble.scrollHeight > bubble.clientHeight) bubble.tabIndex = 0 // to be scrolled with keys
    })
  }

  // Everybody who knows the password is the same user: the field for a name is hidden, and filled in.
  const signIn = (words) => {
    const user = document.querySelector("#email")
    if (!user || user.value) return
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(user, words.toolkit.reader)
    user.dispatchEvent(new Event("input", { bubbles: true }))
    document.querySelector("#password").focus()
  }

  // Chainlit's arrow also points at the empty space that it leaves below the last message.
  const hideArrow = () => {
    const arrow = document.querySelector(ARROW)
    if (!arrow) return
    const frame = arrow.parentElement.previousElementSibling
    const last = [...frame.querySelectorAll("[data-step-type] .message-content, #welcome-screen")].at(-1)
    const isBelow = last && last.getBoundingClientRect().bottom > frame.getBoundingClientRect().bottom + 16
    arrow.style.visibility = isBelow ? "" : "hidden"
  }

  // What lies behind an open menu is hidden from screen readers; neither shall the keyboard get there.
  const page = document.querySelector("#root")
  const shut = () => (page.inert = page.getAttribute("aria-hidden") === "true")
  new MutationObserver(shut).observe(page, { attributes: true, attributeFilter: ["aria-hidden"] })

  const heading = document.createElement("header")
  heading.className = "toolkit-unseen"
  heading.append(document.createElement("h1"))
  heading.firstChild.textContent = document.title
  document.body.prepend(heading)

  // An answer is read out once nothing is being done: the sentence alone, not how far a file has come.
  const voice = document.createElement("div")
  voice.id = "toolkit-voice"
  voice.className = "toolkit-unseen"
  voice.setAttribute("role", "status")
  document.body.append(voice)
  let spoken = [null, ""]
  const speak = () => {
    const answer = all("[data-step-type=assistant_message]").at(-1)
    const sentence = answer?.querySelector(".message-content")?.firstElementChild?.innerText ?? ""
    if (document.querySelector("#stop-button") || (answer === spoken[0] && sentence === spoken[1])) return
    spoken = [answer, sentence]
    voice.textContent = sentence
  }

  fetch(`${server}/project/translations?language=${document.documentElement.lang}`)
    .then((answer) => answer.json())
    .then(({ translation }) => {
      let waiting = false
      const look = () => {
        if (waiting) return
        waiting = true
        setTimeout(() => {
          waiting = false
          signIn(translation)
          hideArrow()
          speak()
        })
      }
      const change = () => {
        name(translation) // at once, before anybody is shown a button without one
        look()
      }
      new MutationObserver(change).observe(document.body, { childList: true, subtree: true, characterData: true })
      for (const event of ["scroll", "toggle", "resize"]) window.addEventListener(event, look, { capture: true, passive: true })
      change()
    })
})()
