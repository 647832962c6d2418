"""What the page says otherwise than Chainlit's own translations, by its tags and keys; `toolkit` is for toolkit.js."""

from typing import Any

from toolkit.chat.texts import TAGS, TEXTS

CHAINLIT_TEXTS: dict[str, dict[str, Any]] = {
    TAGS["zh"]: {
        "chat": {
            "input": {"placeholder": TEXTS["zh"].placeholder, "actions": {"stop": "停止"}},
            "watermark": "模型也会判断错误；它只读过英文影评。",
            "settings": {"title": "设置", "customize": "只影响当前对话"},
            "fileUpload": {"errors": {"failed": "无法上传"}},
        },
        "auth": {
            "login": {
                "title": "请输入密码",
                "errors": {
                    "default": "无法登录，请稍后再试。",
                    "unauthorized": TEXTS["zh"].denied,
                    "too many requests": "密码错误次数太多，请稍等片刻再试（最多五分钟）。",
                },
            }
        },
        "toolkit": {
            "account": "账户",
            "answers": "对话",
            "close": "关闭",
            "menu": "菜单",
            "notifications": "通知",
            "password": "显示密码",
            "reader": "读者",
            "scroll": "滚动到底部",
            "theme": "切换主题",
        },
    },
    TAGS["en"]: {
        "chat": {
            "input": {"placeholder": TEXTS["en"].placeholder, "actions": {"stop": "Stop"}},
            "watermark": "The model can be wrong; it has read English reviews only.",
            "settings": {"title": "Settings", "customize": "For this conversation only"},
            "fileUpload": {"errors": {"failed": "Not uploaded:"}},
        },
        "auth": {
            "login": {
                "title": "Enter the password",
                "errors": {
                    "default": "Signing in failed; try again later.",
                    "unauthorized": TEXTS["en"].denied,
                    "too many requests": "Too many wrong passwords; wait a while and try again (five minutes at most).",
                },
            }
        },
        "navigation": {"header": {"readme": "About"}},
        "toolkit": {
            "account": "Account",
            "answers": "Conversation",
            "close": "Close",
            "menu": "Menu",
            "notifications": "Notifications",
            "password": "Show the password",
            "reader": "Reader",
            "scroll": "Scroll to the end",
            "theme": "Change the theme",
        },
    },
}
