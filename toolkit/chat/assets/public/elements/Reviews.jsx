import { Download } from "lucide-react"

export default function Reviews() {
  const { counts, columns, rows, notes, note, download } = props
  return (
    <div className="toolkit-panel" data-testid="reviews">
      <h2>{counts.title}</h2>
      <div className="toolkit-chart">
        {counts.bars.map((each) => (
          <div key={each.name} className="toolkit-chart-row">
            <span className="toolkit-chart-name">{each.name}</span>
            <span className="toolkit-chart-track">
              <span className={`toolkit-fill toolkit-${each.kind}`} style={{ width: `${each.percent}%` }} />
            </span>
            <span className="toolkit-chart-count">{each.count.toLocaleString("en")}</span>
          </div>
        ))}
      </div>
      {notes.map((each) => (
        <p key={each} className="toolkit-note">
          {each}
        </p>
      ))}
      <a className="toolkit-download" download={download.name} href={apiClient.buildEndpoint(download.path)}>
        <Download aria-hidden="true" />
        <span>
          {download.title}
          <b>{download.name}</b>
        </span>
      </a>
      <div className="toolkit-scroll" tabIndex={0} role="region" aria-label={columns[3]}>
        <table className="toolkit-table">
          <thead>
            <tr>
              {columns.map((name) => (
                <th key={name}>{name}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((each, index) => (
              <tr key={index}>
                <td>{each.row}</td>
                <td className={`toolkit-name toolkit-${each.kind}`}>{each.verdict}</td>
                <td>{each.score}</td>
                <td className="toolkit-text">{each.text}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {note ? <p className="toolkit-note">{note}</p> : null}
    </div>
  )
}
