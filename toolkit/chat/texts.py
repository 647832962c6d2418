"""Every sentence the app says, in Chinese and in English."""

from dataclasses import dataclass

from toolkit.choices import Reason
from toolkit.errors import MissingModelError
from toolkit.text.labels import SENTIMENT, LabelSet

LANGUAGES = ("zh", "en")
LANGUAGE_COOKIE = "toolkit-language"
TAGS = {"zh": "zh-CN", "en": "en-US"}  # what Chainlit calls them


@dataclass(frozen=True, slots=True)
class Texts:
    """The sentences in one language; the words in braces are filled in."""

    title: str
    placeholder: str
    empty: str
    verdict: str
    failure: str
    missing_model: str
    too_long: str
    class_names: tuple[str, str]
    corrected: str
    tokens: str
    truncated: str
    why: str
    why_pending: str
    why_legend: str
    why_legend_towards: str
    why_words: str
    why_phrases: str
    why_lone: str
    push: str
    push_away: str
    unread: str
    unread_by_model: str
    unfamiliar: str
    unfamiliar_labels: str
    script: str
    any_text: str
    any_text_option: str
    unfamiliar_rows: str
    terminal_colours: tuple[str, str]
    terminal_legend: str
    terminal_legend_towards: str
    right: str
    wrong: str
    rather: str
    thanks: str
    taken_back: str
    already_taken: str
    gone: str
    ask: str
    saved: str
    upload_empty: str
    upload_type: str
    upload_size: str
    upload_length: str
    upload_name: str
    upload_stalled: str
    uploads_busy: str
    no_room: str
    busy: str
    no_rows: str
    too_many_files: str
    too_many_rows: str
    too_many_columns: str
    no_text_column: str
    unreadable_file: str
    bad_utf8: str
    likeliest: str
    empty_row: str
    progress: str
    summary: str
    reviews: tuple[str, str]
    stopped: str
    shown: str
    in_part: str
    download: str
    counts: str
    columns: tuple[str, str, str, str]
    unreadable: str
    setting_language: str
    setting_language_help: str
    setting_backend: str
    setting_max_length: str
    setting_max_length_help: str
    setting_threshold: str
    setting_threshold_help: str
    settings_saved: str
    denied: str
    denied_for_now: str

    def counted(self, reviews: int) -> str:
        """A number of reviews, as `1 review` or `1,200 reviews`."""
        return self.reviews[reviews != 1].format(count=reviews)

    def withheld(self, reason: Reason | None, labels: LabelSet) -> str | None:
        """Why a text gets no verdict whatever its score, see `toolkit.prediction.Prediction`; None where that is not why."""
        if reason == "script":
            return self.script
        if reason == "unfamiliar":
            return self.unfamiliar if labels == SENTIMENT else self.unfamiliar_labels
        return None

    def describe(self, error: Exception) -> str:
        """What went wrong in this language, where there is a sentence for it; else in the error's own words."""
        if isinstance(error, MissingModelError):
            return self.missing_model.format(folder=error.folder, error=error)
        return str(error)

    def undecodable(self, encoding: str) -> str:
        """What is said of a row that is no UTF-8 but, probably, in an encoding; in none that is known if empty."""
        return self.bad_utf8.format(likeliest=self.likeliest.format(encoding=encoding) if encoding else "")

    def failed(self, error: Exception) -> str:
        """The whole sentence that answers in the place of a verdict."""
        return self.failure.format(error=self.describe(error))


TEXTS = {
    "zh": Texts(
        title="影评分类",
        placeholder="请输入一段英文影评以进行分类",
        empty="请输入一段影评以进行分类",
        verdict="该文本被分类为: {label}",
        failure="错误信息: {error}",
        missing_model="找不到 {folder} 目录, 请确认模型已正确保存 ({error})",
        too_long="这段文字太长，最多 {limit:,} 个字符；请缩短后再发，或作为文件上传。",
        class_names=("负面", "正面"),
        corrected="应为……",
        tokens="读取 {read} / {total} 个词元 · {backend} · {device}",
        truncated="只读取了 {read} 个词元，可在设置中调高。",
        why="为什么",
        why_pending="正在逐句比较……",
        why_legend="+ 蓝色推向正面，− 橙色推向负面；数字是该句把结果推动了多远。",
        why_legend_towards="+ 蓝色推向“{label}”，− 橙色推离；数字是该句把结果推动了多远。",
        why_words="词的底色越深，它本身的分量越重。",
        why_lone="只有一句话，无从比较。",
        push="{push}：推向{side}",
        push_away="{push}：推离{side}",
        unread="此处 {words:,} 个词未读取",
        unread_by_model="此处 {words:,} 个词只看了词语，{push}",
        unfamiliar="模型学习的是英文影评，这段文字看起来是别的内容，因此不作判断。",
        unfamiliar_labels="这段文字与模型学习过的文本不同，因此不作判断。",
        script="模型只会读英文，这段文字大多不是拉丁字母，因此不作判断。",
        any_text="仍然显示判断",
        any_text_option="加上 --any-text 仍会给出判断。",
        unfamiliar_rows="与模型学习过的文本不同、因此结果为“不确定”的有 {count:,} 条。",
        terminal_colours=("绿色", "红色"),
        terminal_legend="{plus} 推向正面，{minus} 推向负面；数字表示推动了多远：",
        terminal_legend_towards="{plus} 推向“{label}”，{minus} 推离；数字表示推动了多远：",
        why_phrases="词语本身：",
        right="判断正确",
        wrong="判断错误",
        rather="应为{label}",
        thanks="已保存，谢谢。",
        taken_back="已撤回。",
        already_taken="这条更正已被取走，无法撤回。",
        gone="这条回答已不在了，请重新发送影评。",
        ask="判断对吗？",
        saved="已保存；再按一次可撤回。",
        upload_empty="文件是空的；请选择每行一条影评、或含 text 列的文件",
        upload_type="只接受 .txt、.csv、.tsv、.jsonl 或 .json 文件（可压缩为 .gz 或 .zip）；表格请另存为 CSV UTF-8",
        upload_size="文件超过 {limit} MB；请分成几个文件，或使用命令行 toolkit predict-files",
        upload_length="上传请求没有说明大小；请在此页面上传",
        upload_name="文件名太长；请改名，最多 {limit} 个字符",
        upload_stalled="上传太慢，已中止；请重试，或先压缩为 .gz 或 .zip",
        uploads_busy="正在上传的文件太多，请稍后再试",
        no_room="已保存的文件太多；请新建对话，或稍后再试",
        busy="前面的消息还没有处理完，请稍后再发。",
        no_rows="{name}：文件里没有影评；每行应有一条，或在 text 列中。",
        too_many_files="一次最多发送 {limit} 个文件；请分几次发送。",
        too_many_rows="{name}：超过 {limit:,} 行；请分成几个文件，或使用命令行 toolkit predict-files。",
        too_many_columns="{name}：列太多（{columns:,} 列）；请只保留影评和需要的列。",
        no_text_column="{name}：需要名为 {expected} 的列，实际为：{found}；请把影评所在的列改名为 text。",
        unreadable_file="无法读取这个文件，请另存为 CSV UTF-8 后再试。（{error}）",
        bad_utf8="不是有效的 UTF-8{likeliest}；请另存为 UTF-8（CSV UTF-8）",
        likeliest="，可能是 {encoding}",
        empty_row="空影评",
        progress="{name}：已分类 {done:,} / {total:,}",
        summary="{name}：共 {reviews}。",
        reviews=("{count:,} 条影评", "{count:,} 条影评"),
        stopped="已停止。",
        shown="前 {shown} 条，共 {total:,} 条；完整结果见 CSV。",
        in_part="超过 {limit:,} 个词元、因此只读取了一部分的有 {count:,} 条；上限可在设置中调高。",
        download="下载结果：",
        counts="各类数量",
        columns=("行", "结果", "概率", "影评"),
        unreadable="无法读取",
        setting_language="语言 / Language",
        setting_language_help="更改语言会重新载入页面，并开始新的对话。",
        setting_backend="后端",
        setting_max_length="最多读取的词元数",
        setting_max_length_help="读得越多越准，也越慢。",
        setting_threshold="低于此概率时回答“不确定”",
        setting_threshold_help="0.5 表示总是给出判断。",
        settings_saved="设置已保存。",
        denied="密码不对，请再试一次。",
        denied_for_now="密码错误次数太多，请在 {seconds} 秒后再试。",
    ),
    "en": Texts(
        title="Film reviews",
        placeholder="Enter a film review in English",
        empty="Enter a film review to classify",
        verdict="This text is classified as: {label}",
        failure="Error: {error}",
        missing_model="{error}",
        too_long="This text is too long: at most {limit:,} characters are read; shorten it, or upload it as a file.",
        class_names=("negative", "positive"),
        corrected="It is …",
        tokens="read {read} of {total} tokens · {backend} · {device}",
        truncated="Only {read} tokens were read; the settings can raise that.",
        why="Why",
        why_pending="comparing sentence by sentence …",
        why_legend="+ blue pushes to positive, − orange to negative; the number says how far a sentence moves the verdict.",
        why_legend_towards="+ blue pushes to {label}, − orange away from it; the number says how far a sentence moves the verdict.",
        why_words=" The darker a word, the more it weighs by itself.",
        why_lone="There is one sentence only, so nothing to compare.",
        push="{push}: pushes to {side}",
        push_away="{push}: pushes away from {side}",
        unread="{words:,} words were not read",
        unread_by_model="{words:,} words here were read for their wording only, {push}",
        unfamiliar="The model has learnt from English film reviews; this looks like something else, so there is no verdict.",
        unfamiliar_labels="This looks unlike the texts that the model has learnt from, so there is no verdict.",
        script="The model reads English; most letters of this text are of another script, so there is no verdict.",
        any_text="Show the verdict all the same",
        any_text_option="--any-text gives one all the same.",
        unfamiliar_rows="Unlike the texts that the model has learnt from, and therefore uncertain: {count:,}.",
        terminal_colours=("green", "red"),
        terminal_legend="{plus} pushes to positive, {minus} to negative; the number says how far:",
        terminal_legend_towards="{plus} pushes to {label}, {minus} away from it; the number says how far:",
        why_phrases="Words by themselves:",
        right="Right",
        wrong="Wrong",
        rather="It is {label}",
        thanks="Saved, thank you.",
        taken_back="Taken back.",
        already_taken="That correction was taken away already and cannot be taken back.",
        gone="That answer is no longer here; send the review again.",
        ask="Is this right?",
        saved="Saved; press again to take it back.",
        upload_empty="the file is empty; choose one with a review a line, or with a column text",
        upload_type="only .txt, .csv, .tsv, .jsonl and .json files are accepted, also as .gz or .zip; save a spreadsheet as CSV UTF-8",
        upload_size="the file is over {limit} MB; split it, or use toolkit predict-files on the command line",
        upload_length="the upload does not say its size; send the file from this page",
        upload_name="the file's name is too long; rename it, {limit} characters at most",
        upload_stalled="the upload took too long and was given up; try again, or compress the file as .gz or .zip first",
        uploads_busy="too many files are being uploaded; try again in a moment",
        no_room="too many files are stored already; start a new chat, or try again later",
        busy="Earlier messages are still being answered; send this one again in a moment.",
        no_rows="{name}: there is no review in this file; put one on each line, or under a column text.",
        too_many_files="Too many files: at most {limit} go with one message; send the others in another.",
        too_many_rows="{name}: over {limit:,} rows; split the file, or use toolkit predict-files on the command line.",
        too_many_columns="{name}: too many columns ({columns:,}); keep the review's and those you need.",
        no_text_column="{name}: expected a column called {expected}, found: {found}; rename the reviews' column to text.",
        unreadable_file="{error}; if in doubt, save the file as CSV UTF-8 and send it again",
        bad_utf8="not valid UTF-8{likeliest}; save the file as UTF-8 (CSV UTF-8)",
        likeliest=", likeliest {encoding}",
        empty_row="empty review",
        progress="{name}: {done:,} of {total:,} classified",
        summary="{name}: {reviews}.",
        reviews=("{count:,} review", "{count:,} reviews"),
        stopped="Stopped.",
        shown="The first {shown} of {total:,}; the CSV has them all.",
        in_part="Over {limit:,} tokens long, and therefore read in part: {count:,}. The settings can raise that limit.",
        download="Download the results: ",
        counts="Counts",
        columns=("Row", "Verdict", "Score", "Review"),
        unreadable="unreadable",
        setting_language="Language / 语言",
        setting_language_help="Another language loads the page anew and starts a new chat.",
        setting_backend="Backend",
        setting_max_length="Tokens read of a review, at most",
        setting_max_length_help="More is more accurate, and slower.",
        setting_threshold='Answer "uncertain" below this probability',
        setting_threshold_help="0.5 always gives a verdict.",
        settings_saved="Settings saved.",
        denied="Wrong password; try again.",
        denied_for_now="Too many wrong passwords; try again in {seconds} s.",
    ),
}

# (label in Chinese, label in English, review); the model reads English, so the reviews stay as they are
_STARTERS = (
    (
        "安静而温暖的电影",
        "A quiet, warm film",
        "A quiet, generous film. The two leads hardly raise their voices, and every scene in the kitchen feels lived in. "
        "I left the cinema wanting to phone my brother. It is wonderful.",
    ),
    (
        "吵闹的动作片",
        "A loud action film",
        "Two hours of explosions and not one line anybody would say aloud. The plot makes no sense, the acting is terrible, "
        "and the ending is an insult. A complete waste of an evening.",
    ),
    (
        "好坏参半",
        "Good and bad",
        "The photography is beautiful and the music stays with you. Unfortunately the script is lazy. Half of the jokes are "
        "older than the cast. Still, the last ten minutes moved me more than I expected.",
    ),
)


def choose_language(tag: str | None, chosen: str | None = None, default: str | None = None) -> str:
    """The language to speak: what the user chose, else what the server was told, else the browser's; Chinese if unsure.

    Args:
        tag: The languages the browser prefers, as in `Accept-Language` (`en-GB,en;q=0.9`) or `navigator.language`.
        chosen: a user's choice; anything but a language of ours is no choice.
        default: the server's setting.
    """
    if chosen in LANGUAGES:
        return str(chosen)
    if default:
        return default
    return "en" if (tag or "").strip().lower().startswith("en") else "zh"


def starters(language: str) -> list[tuple[str, str]]:
    """Example reviews as (label, review)."""
    return [(english if language == "en" else chinese, review) for chinese, english, review in _STARTERS]
