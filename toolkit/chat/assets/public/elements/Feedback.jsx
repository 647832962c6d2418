import { ThumbsDown, ThumbsUp } from "lucide-react"

const THUMBS = { up: ThumbsUp, down: ThumbsDown }

export default function Feedback() {
  const { ask, answer, chosen, saved, buttons, menu } = props
  const press = (label) => callAction({ name: "correct", payload: { answer, label } })
  const other = menu && menu.labels.some((each) => each.label === chosen) ? chosen : ""
  return (
    <div className="toolkit-feedback" role="group" aria-label={ask} data-testid="feedback">
      {buttons.map((each) => {
        const Thumb = THUMBS[each.thumb]
        return (
          <button key={each.label} type="button" aria-pressed={each.label === chosen} onClick={() => press(each.label)}>
            {Thumb ? <Thumb aria-hidden="true" /> : null}
            {each.name}
          </button>
        )
      })}
      {menu ? (
        <select aria-label={menu.title} value={other} onChange={(event) => press(event.target.value || chosen)}>
          <option value="">{menu.title}</option>
          {menu.labels.map((each) => (
            <option key={each.label} value={each.label}>
              {each.name}
            </option>
          ))}
        </select>
      ) : null}
      {chosen ? <span className="toolkit-note">{saved}</span> : null}
    </div>
  )
}
